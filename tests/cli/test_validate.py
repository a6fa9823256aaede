"""`starling validate`: what is whole, what is not, and how that is said."""

import shutil
from dataclasses import replace

import pytest
from cli_kit import damage, golden_fixture, service_log

from starling import SQLiteLog
from starling.event import encode_payload


def test_a_sound_log_is_valid(tmp_path, starling):
    called = starling("validate", service_log(tmp_path / "log.db", "r1", "r2"))

    assert called.code == 0
    assert called.out == "2 runs, 18 events: 2 valid\n"


def test_one_run_is_named_by_the_beginning_of_its_id(tmp_path, starling):
    called = starling("validate", service_log(tmp_path / "log.db", "abc", "xyz"), "x")

    assert called.code == 0
    assert called.lines == ["valid       xyz, 9 events", "1 run, 9 events: 1 valid"]


@pytest.mark.parametrize(
    "command", [["validate"], ["show"], ["export"], ["replay", "--agent", "cli_kit:shop"], ["diff", "r1"]]
)
def test_an_empty_run_id_is_not_all_runs(tmp_path, starling, command):
    """It comes from a variable in a script that was never set."""
    name, *more = command
    called = starling(name, service_log(tmp_path / "log.db", "r1"), *more, "")

    assert (called.code, called.out) == (2, "")
    assert "there is no run ''" in called.err


@pytest.mark.parametrize(("seq", "told"), [(1, 2), (5, 6), (9, 9)])
def test_a_changed_row_is_found_and_said_where(tmp_path, starling, seq, told):
    """A change shows in the link of the event behind it; that of the last one, in its seal."""
    log = service_log(tmp_path / "log.db", "r1", "r2", "r3")
    damage(log, "r2", seq)

    called = starling("validate", log)

    assert called.code == 1
    (line, total) = called.lines
    assert line.startswith("damaged     ")
    assert "r2" in line
    assert f"seq {told}" in line
    assert total.endswith(": 2 valid, 1 damaged")


def test_a_run_that_lost_its_first_event_is_found_though_no_listing_shows_it(tmp_path, starling):
    log = service_log(tmp_path / "log.db", "r1", "r2")
    damage(log, "r2", 1, "seq = 100")

    assert [run["run_id"] for run in starling("list", log, "--json").objects] == ["r1"]
    assert starling("validate", log).code == 1


def test_a_run_that_has_not_ended_is_not_valid_unless_that_is_allowed(tmp_path, starling):
    log = service_log(tmp_path / "log.db", "r1", unfinished=["r2"])

    strict, lenient = starling("validate", log), starling("validate", log, "--allow-in-progress")

    assert (strict.code, lenient.code) == (1, 0)
    assert "in progress run 'r2': it has not ended" in strict.out
    assert lenient.out == "2 runs, 12 events: 1 valid, 1 in progress\n"


def test_damage_is_no_progress(tmp_path, starling):
    log = service_log(tmp_path / "log.db", unfinished=["r1"])
    damage(log, "r1", 2)

    assert starling("validate", log, "--allow-in-progress").code == 1


def test_a_terminal_that_belies_its_run_is_a_warning(tmp_path, starling):
    """Nothing in the chain covers it, and a loop of the user's own may count otherwise."""
    events = events_of(service_log(tmp_path / "log.db", "r1"), "r1")
    told = replace(events[-1], payload=encode_payload(replace(events[-1].decode(), turn_count=7)))
    with SQLiteLog(tmp_path / "told.db") as log:
        log.append_sync("r1", [*events[:-1], told])

    called = starling("validate", tmp_path / "told.db", "--verbose")

    assert called.code == 0
    assert "warning     run r1: the last event says otherwise: turn_count is 7, not 2" in called.out


def events_of(path, run_id):
    with SQLiteLog(path, read_only=True) as log:
        return log.read_sync(run_id)


def test_json_has_an_object_for_each_run(tmp_path, starling):
    log = service_log(tmp_path / "log.db", "r1", "r2", unfinished=["r3"])
    damage(log, "r2", 4)

    called = starling("validate", log, "--json")

    assert called.code == 1
    assert [(one["run_id"], one["state"]) for one in called.objects] == [
        ("r1", "valid"),
        ("r2", "damaged"),
        ("r3", "in progress"),
    ]
    assert called.objects[1]["seq"] == 5


def test_lost_pages_of_the_database_are_damage_of_the_log(tmp_path, starling):
    log = tmp_path / "log.db"
    service_log(log, *(f"r{n:02}" for n in range(20)))
    whole = log.read_bytes()
    page = int.from_bytes(whole[16:18], "big")
    log.write_bytes(whole[: page * 2] + b"\0" * page + whole[page * 3 :])

    called = starling("validate", log)

    assert called.code in (1, 2)
    assert "damaged" in called.out + called.err or "malformed" in called.out + called.err


def test_a_fixture_is_checked_to_its_last_byte(tmp_path, starling):
    path = tmp_path / "f.db"
    assert starling("validate", golden_fixture(path)).code == 0
    terminal = terminal_run_id(path)
    damage(path, terminal, 9, "ts = ts + 1")  # nothing in the chain covers the last event

    called = starling("validate", path)

    assert called.code == 1
    assert "damaged" in called.out


def terminal_run_id(path):
    with SQLiteLog(path, read_only=True) as log:
        return log.list_runs_sync()[0].run_id


def test_the_sealed_end_of_a_run_is_checked(tmp_path, starling):
    log = service_log(tmp_path / "log.db", "r1")
    damage(log, "r1", 9, "ts = ts + 1")

    called = starling("validate", log)

    assert called.code == 1
    assert "sealed" in called.out


def test_an_empty_log_and_what_is_no_log(tmp_path, starling):
    assert starling("validate", service_log(tmp_path / "log.db")).out == "0 runs, 0 events: nothing to check\n"
    (tmp_path / "x.db").write_bytes(b"no database")

    missing, other = starling("validate", tmp_path / "none.db"), starling("validate", tmp_path / "x.db")

    assert (missing.code, other.code) == (2, 2)
    assert "none.db does not exist" in missing.err
    assert not (tmp_path / "none.db").exists()


def test_validating_leaves_the_file_alone(tmp_path, starling):
    log = service_log(tmp_path / "log.db", "r1")
    shutil.copy(log, tmp_path / "copy.db")
    starling("validate", log)

    assert (tmp_path / "log.db").read_bytes() == (tmp_path / "copy.db").read_bytes()


def test_progress_goes_to_stderr_and_only_where_it_is_wanted(tmp_path, starling):
    log = service_log(tmp_path / "log.db", "r1", "r2")

    assert starling("validate", log).err == ""
    asked = starling("validate", log, "--progress")
    assert "1 run, 9 events" in asked.err
    assert asked.out == "2 runs, 18 events: 2 valid\n"
