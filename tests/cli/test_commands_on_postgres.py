"""The commands on a log in Postgres: the same words, with a URL in the place of a path."""

import pytest
from cli_kit import service_log, shop

from starling import PostgresLog


@pytest.fixture
def url(postgres):
    with PostgresLog(postgres.url, auto_migrate=True) as log:
        for run_id in ("r1", "r2"):
            shop(log).run_with_id_sync(run_id, f"goal of {run_id}")
    return postgres.url


def test_a_database_is_migrated_by_command(postgres, starling):
    dry = starling("migrate", postgres.url, "--dry-run")
    assert (dry.code, dry.out) == (1, "would bring the schema from version 0 to 2\n")
    assert starling("schema-version", postgres.url).out == "0\n"

    assert starling("migrate", postgres.url).out == "brought the schema from version 0 to 2\n"
    assert starling("migrate", postgres.url, "--dry-run").code == 0
    assert starling("schema-version", postgres.url).out == "2\n"


def test_it_is_listed_shown_and_validated(url, starling):
    assert [run["run_id"] for run in starling("list", url, "--json").objects] == ["r2", "r1"]
    assert starling("show", url, "r1").code == 0
    assert starling("validate", url).out == "2 runs, 18 events: 2 valid\n"
    assert starling("diff", url, "r1", "r2").code == 1
    assert "goal of r1" in starling("textconv", url).out


def test_runs_move_between_backends_byte_for_byte(url, postgres, tmp_path, starling):
    (tmp_path / "lines").write_text(starling("export", url).out)
    starling("import", tmp_path / "log.db", tmp_path / "lines")
    assert starling("export", tmp_path / "log.db").out == starling("export", url).out

    service_log(tmp_path / "other.db", "r3")
    (tmp_path / "more").write_text(starling("export", tmp_path / "other.db").out)
    assert starling("import", url, tmp_path / "more").out == "1 run, 9 events written\n"
    assert starling("validate", url).out == "3 runs, 27 events: 3 valid\n"


def test_it_replays(url, starling):
    assert starling("replay", url, "--all", "--agent", "cli_kit:shop").code == 0


def test_damage_is_found(url, postgres, starling):
    postgres.execute("UPDATE eventlog_events SET payload = '\\x00' WHERE run_id = 'r2' AND seq = 4")

    called = starling("validate", url)

    assert called.code == 1
    assert called.lines[-1] == "2 runs, 18 events: 1 valid, 1 damaged"


def test_it_is_pruned(url, starling):
    assert starling("prune", url, "--older-than", "0s").out.startswith("would delete 2 runs (18 events)")
    assert starling("prune", url, "--older-than", "0s", "--confirm").out.startswith("deleted 2 runs (18 events)")
    assert starling("list", url, "--json").objects == []


def test_a_doctor_for_databases(url, starling):
    called = starling("doctor", url, "--json")

    assert called.code == 0
    states = {one["check"]: one["state"] for one in called.objects}
    assert (states["open"], states["schema"], states["runs"], states["write"]) == ("ok",) * 4


ROLES = {
    ("SELECT",): [
        "list",
        "show r1",
        "validate",
        "export",
        "schema-version",
        "doctor --read-only",
        "prune --older-than 0s",
        "textconv",
        "replay r1 --agent cli_kit:shop",
    ],
    ("SELECT", "INSERT"): ["import", "doctor"],
    ("SELECT", "DELETE"): ["prune --older-than 0s --confirm"],
}
"""What suffices for which commands: the table in docs/operations.md."""


@pytest.mark.parametrize("privileges", ROLES, ids=" ".join)
def test_the_least_privileges_suffice(url, postgres, tmp_path, starling, privileges):
    (tmp_path / "lines").write_text(starling("export", service_log(tmp_path / "log.db", "r3")).out)
    place = postgres.url_as(postgres.role("job", *privileges))

    for command in ROLES[privileges]:
        name, *rest = command.split()
        arguments = [*rest, tmp_path / "lines"] if name == "import" else rest
        called = starling(name, place, *arguments)
        assert called.code == 0, (command, called.out, called.err)


@pytest.mark.parametrize("command", ["import", "prune --older-than 0s --confirm", "doctor"])
def test_a_reader_cannot_change_anything(url, postgres, tmp_path, starling, command):
    (tmp_path / "lines").write_text(starling("export", service_log(tmp_path / "log.db", "r3")).out)
    place = postgres.url_as(postgres.role("reader", "SELECT"))
    name, *rest = command.split()

    called = starling(name, place, *rest, *([tmp_path / "lines"] if name == "import" else []))

    assert called.code in (1, 2)
    assert starling("validate", url).out == "2 runs, 18 events: 2 valid\n"


def test_a_server_that_is_not_there_is_said(starling):
    called = starling("list", "postgresql://nobody@127.0.0.1:1/none")

    assert called.code == 2
    assert "127.0.0.1" in called.err


def test_a_fork_is_for_files(url, tmp_path, starling):
    called = starling("fork", url, tmp_path / "copy.db", "r1")

    assert called.code == 2
    assert "export" in called.err
