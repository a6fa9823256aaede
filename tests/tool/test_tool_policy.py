import pytest
from hypothesis import given
from hypothesis import strategies as st

from starling.errors import AgentConfigError
from starling.tool import CallPolicy, call_policy, default_backoff, tool


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(1, 0.1), (2, 0.2), (3, 0.4), (7, 6.4), (8, 10.0), (500, 10.0), (0, 0.1)]
)
def test_the_pause_doubles_up_to_ten_seconds(attempt, seconds):
    assert default_backoff(attempt, lambda: 0.5) == pytest.approx(seconds)


def test_jitter_is_a_quarter_either_way():
    assert default_backoff(2, lambda: 0.0) == pytest.approx(0.15)
    assert default_backoff(2, lambda: 1.0) == pytest.approx(0.25)


@given(st.integers(-5, 10**6))
def test_a_pause_is_never_longer_than_ten_seconds_nor_without_jitter_bounds(attempt):
    assert 0.075 <= default_backoff(attempt) <= 10.0


class Bare:
    name = "bare"
    description = ""
    schema = "{}"

    async def execute(self, args):
        return args


def test_a_tool_that_says_nothing_has_the_defaults():
    assert call_policy(Bare()) == CallPolicy()
    assert CallPolicy() == CallPolicy(idempotent=False, max_attempts=1, backoff=None, timeout=None)


def test_what_a_tool_says_is_read():
    class Careful(Bare):
        idempotent = True
        max_attempts = 4
        backoff = staticmethod(lambda attempt: 0.0)
        timeout = 2

    policy = call_policy(Careful())
    assert (policy.idempotent, policy.max_attempts, policy.timeout) == (True, 4, 2)
    assert policy.backoff(1) == 0.0


def test_the_policy_of_a_function_tool_is_its_own():
    @tool(idempotent=True, max_attempts=2)
    def f() -> None: ...

    assert call_policy(f) == f.policy


def test_a_policy_that_makes_no_sense_is_an_error_that_names_the_tool():
    class Hasty(Bare):
        max_attempts = 3

    with pytest.raises(AgentConfigError, match=r'^tool "bare": max_attempts is 3, but only idempotent') as caught:
        call_policy(Hasty())
    assert caught.value.field == "max_attempts"


def test_a_policy_that_was_checked_is_not_made_again():
    @tool(idempotent=True, max_attempts=3, timeout=2.5)
    def f() -> None: ...

    assert call_policy(f) is f.policy


def test_a_tools_own_class_may_say_something_else():
    @tool(timeout=2.5)
    def f() -> None: ...

    class Slower(type(f)):
        timeout = 9.0

    fields = ("function", "name", "description", "arguments", "given_schema", "policy")
    slower = Slower(**{name: getattr(f, name) for name in fields})
    assert call_policy(slower).timeout == 9.0
