"""Node id → file name: legible where it can be, safe everywhere, never shared."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_starling._location import fill_template, is_template, location, node_name

LEGIBLE = {
    "test_support.py::test_refund": "test_support/test_refund.db",
    "tests/x/test_y.py::test_f": "tests/x/test_y/test_f.db",
    "tests/test_y.py::TestA::test_f": "tests/test_y/TestA.test_f.db",
    "tests/test_y.py::TestA::TestB::test_f[big-1.5]": "tests/test_y/TestA.TestB.test_f[big-1.5].db",
    "test_y.py::test_f@group": "test_y/test_f.db",
    "test_y.py::test_f[a]@group": "test_y/test_f[a].db",
    "test_y.py::test_f[a::b]": None,
    "test_y.py::test_f[a/b]": None,
    "test_y.py::test_f[a b]": None,
    "test_y.py::test_f[\\u043a]": None,
    "test_y.py::test_f[a@b]": None,
    "test_y.py::test_ключ": None,
    "../other/test_y.py::test_f": None,
    "con.py::test_f": None,
}


@pytest.mark.parametrize("node_id", LEGIBLE)
def test_a_name_is_kept_as_it_is_where_every_file_system_takes_it(node_id):
    found = location(node_name(node_id))
    if LEGIBLE[node_id] is None:
        assert re.search(r"-[0-9a-f]{8}(\.db|/)", found), found
    else:
        assert found == LEGIBLE[node_id]


def test_a_name_that_differs_by_case_gets_a_tail():
    upper, lower = (location(node_name(f"t.py::test_{name}"), ambiguous=True) for name in "Aa")
    assert upper.casefold() != lower.casefold()


def test_a_template_is_filled_with_safe_names():
    name = node_name("tests/t.py::TestA::TestB::test_f[a/b]")
    assert fill_template("x/{class}/{function}.db", name) == "x/TestA.TestB/test_f.db"
    assert re.fullmatch(r"a_b-[0-9a-f]{8}\.db", fill_template("{id}.db", name))
    assert fill_template("{id}{class}.db", node_name("t.py::test_f")) == ".db"
    assert is_template("{id}.db")
    assert not is_template("{other}.db")


texts = st.text(max_size=300)
names = st.text(string.ascii_letters + "_", min_size=1, max_size=200)
node_ids = st.builds(
    lambda module, classes, function, params: "::".join([f"{module}.py", *classes, function]) + params,
    names,
    st.lists(names, max_size=2),
    names,
    st.one_of(st.just(""), texts.map(lambda text: f"[{text}]")),
)


@given(node_ids)
def test_every_component_is_short_and_plain(node_id):
    found = location(node_name(node_id))
    assert found.endswith(".db")
    for part in found.split("/"):
        assert 0 < len(part) <= 123
        assert re.fullmatch(r"[A-Za-z0-9_.,=+\-\[\]]+", part)
        assert part[0] != "."


@given(node_ids, node_ids)
def test_two_tests_never_share_a_file(one, other):
    first, second = node_name(one), node_name(other)
    if first.text != second.text:
        assert location(first) != location(second)


def test_siblings_that_differ_by_case_get_files_of_their_own(project):
    project.write(
        test_support="""
        import pytest, support

        pytestmark = pytest.mark.golden_run

        def test_a(): support.handle()
        def test_A(): support.handle()
        def test_b(): support.handle()

        @pytest.mark.parametrize("word", ["x", "X", "y"])
        def test_p(word): support.handle(word)
        """
    )
    project.record(passed=6)
    names = project.fixtures
    assert len({name.casefold() for name in names}) == 6
    assert {"test_support/test_b.db", "test_support/test_p[y].db"} <= set(names)
    for selected in ("test_support.py::test_a", "test_support.py::test_p[X]"):
        project.run(selected, passed=1)
