"""Export and import carry runs between logs byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starling.errors import InvalidAppendError
from starling.event import Chain, Kind, SideEffectRecorded
from starling.eventlog import MemoryLog, export_runs, import_runs, run_ids
from starling.testing.eventlog_contract._runs import RUN_STARTED, dated_run, sample_run

if TYPE_CHECKING:
    from starling.eventlog import EventLog
    from starling.testing.eventlog_contract._runs import Factory

__all__ = [
    "continues_what_an_import_lacked",
    "exports_and_imports_byte_for_byte",
    "refuses_to_import_another_run",
]


async def exports_and_imports_byte_for_byte(factory: Factory) -> None:
    """What is exported from this log and imported elsewhere is the same, and the other way round; twice is once."""
    log, other = factory(), MemoryLog()
    for run_id, end in (("done", Kind.RunCompleted), ("failed", Kind.RunFailed), ("open", None)):
        await log.append(run_id, dated_run(run_id, 5, end, tool_calls=2))
    await log.append("ключ/long", sample_run("ключ/long", 600))
    lines = await _lines(log)
    report = await import_runs(other, lines)
    assert (report.runs, report.present) == (4, 0), f"the import says {report}"
    assert report.events == len(lines), f"the import says {report} of {len(lines)} lines"
    async for run_id in run_ids(log):
        assert await other.read(run_id) == await log.read(run_id), f"run {run_id} was changed on the way"
    again = await import_runs(log, [f"{line}\n".encode() for line in await _lines(other)])
    assert (again.runs, again.events, again.present) == (0, 0, 4), f"importing what is there says {again}"
    assert await _lines(log) == lines, "importing what is there changed something"
    await log.close()


async def continues_what_an_import_lacked(factory: Factory) -> None:
    """An earlier export is gone on with by a later one; a later log is left alone by an earlier export."""
    log, other = factory(), MemoryLog()
    events = sample_run("r", 5)
    await log.append("r", events[:3])
    await other.append("r", events)
    report = await import_runs(log, await _lines(other))
    assert (report.runs, report.events) == (1, len(events) - 3), f"the import says {report}"
    assert await log.read("r") == events, "the run was not gone on with"
    report = await import_runs(log, (await _lines(other))[:2])
    assert (report.runs, report.present) == (0, 1), f"importing the beginning again says {report}"
    await log.close()


async def refuses_to_import_another_run(factory: Factory) -> None:
    """A run that is there under the same id with other events is left as it is, and the import says where."""
    log, other = factory(), MemoryLog()
    events = sample_run("r", 3)
    await log.append("r", events)
    chain = Chain("r")
    await other.append("r", [chain.append(RUN_STARTED, 1), chain.append(SideEffectRecorded(name="odd", value=1), 2)])
    lines = await _lines(other)
    refused_at = 0
    try:
        await import_runs(log, lines)
    except InvalidAppendError as error:
        refused_at = error.seq or 0
    assert refused_at == 2, "an import of another run must be refused, and say that it differs from seq 2 on"
    assert await log.read("r") == events, "a refused import changed the run"
    await log.close()


async def _lines(log: EventLog) -> list[str]:
    return [line async for line in export_runs(log)]
