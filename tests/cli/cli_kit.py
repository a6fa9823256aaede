"""Logs to call commands on, and calling them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from starling import Agent, Config, MemoryLog, SQLiteLog, step, tool
from starling.ambient import activate
from starling.cli import main
from starling.replay import Fixture, RecordingSession, install_fixture, write_fixture
from starling.testing import ScriptedProvider


@tool
async def stock(article: str) -> dict:
    """How many pieces there are."""
    return {"article": article, "pieces": await step.side_effect("stock", lambda: 12)}


def shop(log=None, *, prompt="Be brief.", answer="Yes, 12.", tools=(stock,), namespace=""):
    script = ScriptedProvider().tool_call("stock", {"article": "tea"}).turn().text(answer)
    config = Config(model="gpt-4o-mini", system_prompt=prompt, app_version="1.2")
    return Agent(script, config, log or MemoryLog(), tools=tools, namespace=namespace)


def service_log(path, *run_ids, unfinished=()):
    """A log with a run under each id; of those that are unfinished, the first three events."""
    with SQLiteLog(path) as log:
        for run_id in run_ids:
            shop(log).run_with_id_sync(run_id, f"goal of {run_id}")
        for run_id in unfinished:
            elsewhere = shop()
            elsewhere.run_with_id_sync(run_id, "cut off")
            log.append_sync(run_id, elsewhere.log.read_sync(run_id)[:3])
    return str(path)


def golden_fixture(path):
    session = RecordingSession()
    with activate(session):
        shop().run_sync("Do you have tea?")
    value = Fixture(
        test_id="test_x.py::test_f", recorded_at="2026-11-21T12:00:00+00:00", versions={}, runs=session.runs
    )
    install_fixture(write_fixture(path, value), path)
    return str(path)


def damage(path, run_id, seq, statement="payload = zeroblob(9)"):
    """Change a row behind the log's back."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE eventlog_events SET {statement} WHERE run_id = ? AND seq = ?", (run_id, seq))


class Called:
    """What a command said."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def lines(self):
        return self.out.splitlines()

    @property
    def objects(self):
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def starling(capsys):
    """Call a command in this process."""

    def call(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return Called(code, told.out, told.err)

    return call


def starling_process(*arguments, **options):
    """Call a command as a shell does."""
    command = [sys.executable, "-m", "starling", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, **options)
