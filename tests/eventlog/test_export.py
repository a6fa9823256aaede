"""Export and import: the form of a line, and what an import refuses."""

import json
from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from starling.errors import InvalidAppendError, LogCorruptError, LogError, RunNotFoundError
from starling.event import SideEffectRecorded, event_hash, to_json
from starling.eventlog import (
    MemoryLog,
    SQLiteLog,
    events_of_sync,
    export_runs,
    export_runs_sync,
    import_runs,
    import_runs_sync,
    run_ids_sync,
)
from starling.testing.eventlog_contract import sample_run

ORIGINALS = sorted((Path(__file__).parents[2] / "testdata/interop/db").glob("*.db"))


def exported(*runs):
    with MemoryLog() as log:
        for run in runs:
            log.append_sync(run[0].run_id, run)
        return list(export_runs_sync(log))


def test_a_line_is_the_event_its_projection_and_what_makes_it_exact():
    run = sample_run("ns/é", 1)
    found = json.loads(exported(run)[1])

    assert list(found) == ["run_id", "seq", "prev_hash", "ts", "kind", "kind_name", "payload", "payload_cbor", "hash"]
    assert (found["run_id"], found["seq"], found["ts"], found["kind"]) == ("ns/é", 2, run[1].ts, 9)
    assert found["kind_name"] == "SideEffectRecorded"
    assert b64decode(found["prev_hash"]) == event_hash(run[0])
    assert found["payload"] == json.loads(to_json(run[1]))
    assert b64decode(found["payload_cbor"]) == run[1].payload
    assert b64decode(found["hash"]) == event_hash(run[1])


@pytest.mark.parametrize("path", ORIGINALS, ids=lambda path: path.stem)
def test_logs_of_the_original_are_carried_over_byte_for_byte(path, tmp_path):
    with SQLiteLog(path, read_only=True) as source, SQLiteLog(tmp_path / "log.db") as target:
        import_runs_sync(target, export_runs_sync(source))
        (run_id,) = run_ids_sync(source)
        assert target.read_sync(run_id) == source.read_sync(run_id) == list(events_of_sync(target, run_id))


async def test_runs_that_are_named_come_in_that_order():
    async with MemoryLog() as log:
        for run_id in "abc":
            await log.append(run_id, sample_run(run_id, 0))
        lines = [json.loads(line)["run_id"] async for line in export_runs(log, ["c", "a"])]
        assert lines == ["c", "c", "a", "a"]
        with pytest.raises(RunNotFoundError, match="holds no run 'x'"):
            [line async for line in export_runs(log, ["x"])]


def edited(line, **fields):
    return json.dumps(json.loads(line) | fields)


def without(line, field):
    return json.dumps({name: value for name, value in json.loads(line).items() if name != field})


LINES = exported(sample_run("r", 3))
OTHER = sample_run("r", 3)[2]
FALSE_PAYLOAD = b64encode(SideEffectRecorded(name="count", value=7).KIND.to_bytes(1, "big")).decode()


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([*LINES[:2], "{", *LINES[3:]], r"line 3: not JSON"),
        ([*LINES[:2], "[]", *LINES[3:]], r"line 3: not a JSON object"),
        ([without(LINES[0], "payload_cbor")], "line 1: the field payload_cbor is missing: this is no line of"),
        ([edited(LINES[0], seq="1")], "line 1: seq must be int, found str"),
        ([edited(LINES[0], seq=True)], "line 1: seq must be int, found bool"),
        ([edited(LINES[0], kind=[1])], "line 1: kind must be int, found list"),
        ([edited(LINES[0], kind=1.0)], "line 1: kind must be int, found float"),
        ([edited(LINES[0], payload_cbor="?")], "line 1: payload_cbor is no base64"),
        ([edited(LINES[0], ts=2)], "line 1: its hash is not that of the event"),
        ([*LINES[:4], edited(LINES[4], ts=99)], "line 5: its hash is not that of the event"),
        ([*LINES[:1], edited(LINES[1], payload_cbor=FALSE_PAYLOAD)], "line 2: its hash is not that of the event"),
        ([*LINES[:1], edited(LINES[1], payload={"name": "other"})], "line 2: payload.name is not what payload_cbor"),
        ([*LINES[:1], edited(LINES[1], payload=5)], "line 2: payload must be a map or null, found int"),
        ([*LINES[:1], *LINES[2:]], "line 2: .*seq gap: 3 where 2 belongs"),
        ([*LINES[:1], "", "\n", *LINES[2:]], "line 4: .*seq gap: 3 where 2 belongs"),
        (LINES[1:], "line 1: .*the first must be 1"),
        ([*LINES, LINES[4]], "line 6: .*seq gap: 5 where 6 belongs"),
    ],
)
def test_what_is_not_sound_is_refused_and_nothing_of_its_run_written(lines, text):
    before, after = exported(sample_run("a", 0), sample_run("before", 1)), exported(sample_run("zafter", 1))
    with MemoryLog() as log:
        shift = len(before)
        wanted = text.replace("line ", "", 1)
        number, rest = wanted.split(":", 1)
        with pytest.raises(LogCorruptError, match=f"line {int(number) + shift}:{rest}"):
            import_runs_sync(log, [*before, *lines, *after])
        assert "a" in run_ids_sync(log)
        assert set(run_ids_sync(log)) <= {"a", "before"}


def test_a_projection_of_another_version_is_no_contradiction():
    line = json.loads(LINES[1])
    payload = {name: value for name, value in line["payload"].items() if name != "name"} | {"later": 1}
    with MemoryLog() as log:
        report = import_runs_sync(log, [LINES[0], "", edited(LINES[1], payload=payload), *LINES[2:], "\n"])
        assert (report.runs, report.events) == (1, 5)


def test_runs_whose_lines_are_torn_apart_are_gone_on_with():
    """Nothing is lost by it: each part continues what is there."""
    other = exported(sample_run("other", 1))
    with MemoryLog() as log:
        import_runs_sync(log, [*LINES[:2], *other, *LINES[:4], *LINES])
        assert log.read_sync("r") == sample_run("r", 3)


async def test_lines_may_come_as_they_are_made():
    async with MemoryLog() as source, MemoryLog() as target:
        await source.append("r", sample_run("r", 3))
        await import_runs(target, export_runs(source))
        assert await target.read("r") == sample_run("r", 3)


def test_a_payload_that_cannot_be_read_is_exported_all_the_same(tmp_path):
    run = sample_run("r", 2, ended=False)
    with MemoryLog() as log:
        log.append_sync("r", [*run[:2], replace(run[2], payload=b"\xff")])
        (*_, line) = export_runs_sync(log)
        assert json.loads(line)["payload"] is None
        with MemoryLog() as target, pytest.raises(LogCorruptError, match="line 3: "):
            import_runs_sync(target, export_runs_sync(log))


def test_a_log_of_ones_own_needs_to_list_or_to_be_told():
    class Narrow:
        def __repr__(self):
            return "Narrow()"

        def read_sync(self, run_id):
            return sample_run(run_id, 1)

        def append_sync(self, run_id, events):
            raise InvalidAppendError("no")

    assert len(list(export_runs_sync(Narrow(), ["r"]))) == 3
    with pytest.raises(LogError, match=r"Narrow\(\) cannot say which runs it holds"):
        list(export_runs_sync(Narrow()))
    with pytest.raises(LogError, match="has no blocking methods"):
        list(export_runs_sync(object()))
