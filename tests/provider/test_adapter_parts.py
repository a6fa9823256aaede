"""What adapters share, each part by itself."""

import asyncio
import gc
from typing import ClassVar

import pytest

from starling.errors import AuthError, MissingExtraError, ProviderError, RateLimitError, ServerError
from starling.provider._credentials import check_key, key_from
from starling.provider._loop_clients import LoopClients
from starling.provider._sdk import require_sdk
from starling.provider._vendor_errors import error_from_report, redact, retry_after_s, vendor_message


class Client:
    built: ClassVar = []

    def __init__(self):
        self.closed_in = None
        self.built.append(self)

    async def close(self):
        self.closed_in = asyncio.get_running_loop()


@pytest.fixture(autouse=True)
def no_clients():
    Client.built.clear()


def clients():
    return LoopClients(Client, Client.close)


def test_every_loop_has_a_client_of_its_own_and_closes_it():
    shared = clients()

    async def use():
        assert await shared.get() is await shared.get()
        return asyncio.get_running_loop()

    loops = [asyncio.run(use()) for _ in range(2)]
    assert [client.closed_in for client in Client.built] == loops
    assert shared.loops == ()


async def test_closing_is_not_final():
    shared = clients()
    first = await shared.get()
    await shared.aclose()
    await shared.aclose()
    assert first.closed_in is asyncio.get_running_loop()
    assert await shared.get() is not first
    await shared.aclose()


async def test_what_is_not_ours_is_not_closed():
    shared = LoopClients(Client, None)
    client = await shared.get()
    await shared.aclose()
    assert client.closed_in is None


async def test_a_dropped_owner_closes_on_the_loop_that_runs_on():
    closed = asyncio.Event()

    async def close(client):
        closed.set()

    shared = LoopClients(Client, close)
    await shared.get()
    del shared
    gc.collect()
    await asyncio.wait_for(closed.wait(), 30)


def test_the_key_that_was_given_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("A_KEY", "")
    monkeypatch.setenv("B_KEY", "from-b\n")
    assert key_from(None, "A_KEY", "B_KEY") == "from-b"
    assert key_from("", "B_KEY") == ""
    assert key_from("given", "B_KEY") == "given"
    assert key_from(None, "NO_SUCH_KEY") == ""


def test_a_missing_key_is_named_and_a_key_is_never_quoted():
    with pytest.raises(AuthError, match=r'"acme": no API key: set ACME_KEY, or pass api_key= \(or a token\)'):
        check_key("", provider="acme", variable="ACME_KEY", instead="(or a token)")
    with pytest.raises(AuthError) as caught:
        check_key("wörter", provider="acme", variable="ACME_KEY", required=False)
    assert "wörter" not in str(caught.value)
    check_key("", provider="acme", variable="ACME_KEY", required=False)


@pytest.mark.parametrize("module", ["no_such_sdk", "no_such_namespace.sdk", "json.no_such_part"])
def test_a_missing_sdk_is_the_line_that_installs_it(module):
    with pytest.raises(MissingExtraError, match=r"^pip install 'pytest-starling\[acme\]'$"):
        require_sdk(module, extra="acme")


def test_an_sdk_may_be_part_of_a_package():
    import email.message

    assert require_sdk("email.message", extra="acme") is email.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "no"}}, "no"),
        ({"error": "no"}, "no"),
        ({"message": "no"}, "no"),
        ({"detail": "no"}, "no"),
        ({"error": {}, "message": "no"}, "no"),
        (" no\n", "no"),
        (None, ""),
        ({}, ""),
    ],
)
def test_the_vendors_words_are_found(body, words):
    assert vendor_message(body) == words


@pytest.mark.parametrize(
    ("report", "kind"),
    [
        ({"error": {"code": 429, "message": "m"}}, RateLimitError),
        ({"error": {"code": "429", "message": "m"}}, RateLimitError),
        ({"error": {"code": "", "status": 401, "message": "m"}}, AuthError),
        ({"error": {"code": "busy", "status": 400, "message": "m"}}, ServerError),
        ({"error": {"code": "4290", "message": "m"}}, ProviderError),
        ({"error": {"type": "busy", "message": "m"}}, ServerError),
        ({"error": {"status": "BUSY", "message": "m"}}, ServerError),
        ({"type": "busy", "message": "m"}, ServerError),
        ({"error": {"type": "else", "message": "m"}}, ProviderError),
    ],
)
def test_an_error_report_in_a_stream_is_classed_by_code_or_name(report, kind):
    classes = {"busy": ServerError, "BUSY": ServerError}
    error = error_from_report(report, classes, provider="p", request_id="r", secret="")
    assert type(error) is kind
    assert (error.request_id, str(error)[-1]) == ("r", "m")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:30 GMT", "date": "Sat, 21 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 09:00:00 GMT", "date": "Sat, 21 Nov 2026 10:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({}, None),
    ],
)
def test_the_wait_that_headers_ask_for(headers, seconds):
    assert retry_after_s(headers) == seconds


def test_without_a_key_nothing_is_redacted():
    assert redact("a text", "") == "a text"
