"""Logs of the original program go through `validate`, with its verdict, `list`, `export` and `import`."""

import json
from base64 import b64decode

import pytest
from interop_logs import DATABASES, events_of, originals

from starling import SQLiteLog


@pytest.fixture(scope="module")
def every_run(tmp_path_factory):
    """All of the original's runs in one log."""
    path = tmp_path_factory.mktemp("interop") / "all.db"
    with SQLiteLog(path) as log:
        for run in originals():
            log.append_sync(run["run_id"], events_of(run))
    return path


def test_every_run_gets_the_verdict_of_the_original(every_run, starling):
    called = starling("validate", every_run, "--json")

    accepted = {run["run_id"] for run in originals() if run["validate"] is None}
    assert called.code == 1
    assert len(called.objects) == len(originals()) > 150
    assert {one["run_id"] for one in called.objects if one["state"] == "valid"} == accepted


def test_every_run_is_listed_with_the_totals_of_the_original(every_run, starling):
    listed = {one["run_id"]: one for one in starling("list", every_run, "--all", "--json").objects}

    assert set(listed) == {run["run_id"] for run in originals()}
    for run in originals():
        assert listed[run["run_id"]]["events"] == len(run["events"])
        assert listed[run["run_id"]]["turns"] == run["aggregate"]["turns"]


def test_every_run_is_shown(every_run, starling):
    for run in originals():
        assert starling("show", every_run, run["run_id"]).code == 0


def test_every_event_is_exported_with_the_projection_of_the_original(every_run, starling):
    lines = starling("export", every_run).objects

    exported = {(one["run_id"], one["seq"]): one for one in lines}
    for run in originals():
        for seq, event in enumerate(run["events"], start=1):
            line = exported.pop((run["run_id"], seq))
            assert b64decode(line["hash"]) == bytes.fromhex(event["hash"])
            if event["json"]:  # else it could not read back what it had written
                assert line["payload"] == json.loads(event["json"])
    assert exported == {}


@pytest.mark.parametrize("path", DATABASES, ids=lambda path: path.stem)
def test_its_databases_are_read_as_they_are(path, tmp_path, starling):
    before = path.read_bytes()
    (listed,) = starling("list", path, "--json").objects
    verdict = next(run["validate"] for run in originals() if run["run_id"] == listed["run_id"])

    assert starling("validate", path).code == int(verdict is not None)
    assert starling("schema-version", path).out == "2\n"
    (tmp_path / "lines").write_text(starling("export", path).out)
    assert starling("import", tmp_path / "new.db", tmp_path / "lines").code == 0
    assert path.read_bytes() == before
