"""What a golden test leaves for other tools: user properties, the line after collection, the summary section."""

from xml.etree import ElementTree as ET

import pytest

GOOD = "import pytest, support\n\n@pytest.mark.golden_run\ndef test_good(): support.handle()\n"
NAMES = [
    *("starling.mode", "starling.fixture", "starling.run_id", "starling.divergences"),
    *("starling.first_seq", "starling.first_kind", "starling.first_class"),
]


@pytest.fixture
def good(project):
    project.write(test_good=GOOD)
    project.record(passed=1)
    return project


def properties(project, *arguments, **expected):
    """A session's only test case in the JUnit file."""
    project.run("--junit-xml=junit.xml", *arguments, **expected)
    (case,) = ET.parse(project.path / "junit.xml").iter("testcase")
    pairs = [(one.get("name"), one.get("value")) for one in case.iter("property")]
    assert len(dict(pairs)) == len(pairs), "each once"
    return dict(pairs)


# --- user properties


@pytest.mark.parametrize("workers", [[], ["-n1"]])
def test_properties_of_a_replay(good, workers):
    found = properties(good, *workers, passed=1)
    assert list(found) == NAMES[:4]
    assert (found["starling.mode"], found["starling.divergences"]) == ("replay", "0")
    assert found["starling.fixture"] == "testdata/golden/test_good/test_good.db"
    assert len(found["starling.run_id"]) == 26


@pytest.mark.parametrize("workers", [[], ["-n1"]])
def test_properties_of_a_divergence(good, workers):
    before = properties(good, passed=1)
    good.turn(total=43)
    found = properties(good, *workers, failed=1)
    assert list(found) == NAMES
    assert found["starling.run_id"] == before["starling.run_id"]
    told = {name.rpartition("_")[2]: found[name] for name in NAMES[4:]}
    assert told == {"seq": "11", "kind": "ToolCallCompleted", "class": "payload"}
    assert found["starling.divergences"] == "1"


def test_properties_of_a_run_that_stops_short(good):
    good.write(
        test_good="import pytest, support\n\n@pytest.mark.golden_run\ndef test_good():\n"
        "    if not __import__('pathlib').Path('knobs.json').exists(): support.handle()\n"
    )
    good.turn()
    found = properties(good, failed=1)
    assert (found["starling.first_seq"], found["starling.first_kind"]) == ("1", "RunStarted")
    assert found["starling.first_class"] == "kind"


def test_properties_of_a_missing_recording(project):
    project.write(test_good=GOOD)
    found = properties(project, failed=1)
    assert found == {**dict.fromkeys(NAMES[:4], ""), **found}
    assert (found["starling.mode"], found["starling.run_id"]) == ("replay", "")


@pytest.mark.parametrize("options", [[], ["--golden-verify=off"]])
def test_properties_of_a_recording(project, options):
    project.write(test_good=GOOD)
    project.pytester.makeconftest(
        "def pytest_sessionfinish(session):\n    print('KEPT', session.items[0].user_properties[:1])\n"
    )
    found = properties(project, "--record-golden", *options, passed=1)
    assert list(found) == NAMES[:4]
    assert found["starling.mode"] == "record"
    result = project.run("--golden-mode=all", "-s", *options, passed=1)
    assert "KEPT [('starling.mode', 'record')]" in result.stdout.str()


def test_a_test_that_diverges_and_is_recorded_has_the_properties_of_the_recording(good):
    good.turn(total=43)
    assert list(properties(good, "--record-golden", passed=1)) == NAMES[:4]


def test_properties_of_the_tests_own_stay(good):
    good.write(
        test_good="import pytest, support\n\n@pytest.mark.golden_run\ndef test_good(record_property):\n"
        "    record_property('mine', 1)\n    support.handle()\n"
    )
    assert list(properties(good, passed=1)) == ["mine", *NAMES[:4]]


def test_a_test_that_is_not_golden_has_none(project):
    project.write(test_plain="def test_plain(): ...\n")
    assert properties(project, passed=1) == {}


# --- the line after collection

LINE = "golden: 1 test, replaying from testdata/golden"


@pytest.mark.parametrize("arguments", [[], ["-v"], ["-n1"], ["--collect-only"]])
def test_one_line_says_how_many_tests_are_golden(good, arguments):
    assert good.run(*arguments).outlines.count(LINE) == 1


@pytest.mark.parametrize("arguments", [["-q"], ["-qq"], ["-qq", "-n1"], ["-p", "no:terminal"]])
def test_a_quiet_session_has_no_such_line(good, arguments):
    assert LINE not in good.run(*arguments).outlines


def test_workers_make_one_line_of_all(good):
    good.write(test_more=GOOD + GOOD.replace("test_good", "test_x"), test_plain="def test_plain(): ...\n")
    good.record(passed=4)
    lines = good.run("-n2", passed=4).outlines
    assert [line for line in lines if line.startswith("golden:")] == [LINE.replace("1 test", "3 tests")]


@pytest.mark.parametrize(
    ("mode", "verb"),
    [
        ("new", "recording what is missing in"),
        ("changed", "recording what is missing or diverges in"),
        ("all", "recording all of them in"),
    ],
)
def test_the_line_says_what_is_going_to_happen(good, mode, verb):
    assert f"golden: 1 test, {verb} testdata/golden" in good.run(f"--golden-mode={mode}", "--collect-only").outlines


# --- the summary section


def section(result):
    """The lines of the summary section; None if there is none."""
    lines = result.outlines
    start = next((at for at, line in enumerate(lines) if line.strip("=") == " golden runs "), None)
    if start is None:
        return None
    end = next(at for at in range(start + 1, len(lines)) if lines[at].startswith("=") or not lines[at])
    return lines[start + 1 : end]


def test_nothing_is_said_if_all_just_replayed(good):
    assert section(good.run(passed=1)) is None


@pytest.mark.parametrize("workers", [[], ["-n1"]])
def test_what_is_in_need_is_counted_with_the_cure(good, workers):
    good.turn(total=43)
    good.write(test_new=GOOD)
    (line,) = section(good.run(*workers, failed=2))
    counts, cure = line.split("; ")
    assert counts == "1 diverged, 1 missing"
    assert cure == "record what is missing, and what diverged where that is meant, with: pytest --record-golden"


def test_recorded_and_unused_fixtures_are_named(good):
    good.write(test_good=GOOD.replace("test_good", "test_renamed"))
    assert section(good.record(passed=1)) == [
        "recorded  testdata/golden/test_good/test_renamed.db",
        "unused    testdata/golden/test_good/test_good.db (there is no golden test test_good.py::test_good)",
        "1 unused; what nobody needs is deleted with: pytest --golden-unused=delete",
    ]


def test_a_very_quiet_session_has_no_section(good):
    good.turn(total=43)
    assert section(good.run("-q", failed=1)) is not None
    assert section(good.run("-qq")) is None
