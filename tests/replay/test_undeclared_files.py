"""Which files count for the guard: what is read and is neither the run's own nor a part of the code."""

# Every way of opening a file is wanted here.
# ruff: noqa: PTH105, PTH123, SIM115

import asyncio
import bz2
import codecs
import configparser
import contextlib
import fileinput
import gettext
import gzip
import importlib.resources
import linecache
import locale
import logging
import lzma
import mimetypes
import os
import shutil
import ssl
import subprocess
import sys
import tarfile
import tempfile
import traceback
import warnings
import zipfile
import zoneinfo
from pathlib import Path

import pytest

from starling import step, tool
from starling.testing import ScriptedProvider
from tests.agent_kit import agent
from tests.undeclared_kit import recording, undeclared

HERE = Path(__file__)
KINDS = pytest.mark.parametrize("kind", ["async", "sync"])


# --- found


def opened(path):
    path.open().close()


HELPERS = {
    "open()": lambda path: open(path).close(),
    "Path.read_bytes()": lambda path: path.read_bytes(),
    "Path.open()": opened,
    "codecs.open()": lambda path: codecs.open(str(path), encoding="utf-8").close(),
    "gzip.open()": lambda path: gzip.open(path).close(),
    "bz2.open()": lambda path: bz2.open(path).close(),
    "lzma.open()": lambda path: lzma.open(path).close(),
    "gzip.GzipFile()": lambda path: gzip.GzipFile(path).close(),
    "zipfile.ZipFile()": lambda path: contextlib.suppress(zipfile.BadZipFile).__exit__(*raised(zipfile.ZipFile, path)),
    "tarfile.TarFile.open()": lambda path: raised(tarfile.open, path),
    "configparser.RawConfigParser.read()": lambda path: configparser.ConfigParser().read(path),
    "fileinput.FileInput.readline()": lambda path: fileinput.input([path]).readline(),
}


def raised(function, *args):
    """What a call raises, if anything."""
    try:
        function(*args)
    except Exception:
        return sys.exc_info()
    return None, None, None


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore:codecs.open:DeprecationWarning")
@pytest.mark.parametrize("what", HELPERS)
async def test_a_file_is_found_where_the_project_asks_for_it(what, tmp_path):
    path = tmp_path / "input"
    path.touch()

    def body():
        HELPERS[what](path)

    found = await undeclared(body)
    assert {(call.what, call.file) for call in found} == {(what, str(HERE))}


async def test_a_file_that_was_there_before_is_found_though_the_run_goes_on_writing_it(tmp_path):
    path = tmp_path / "notes"
    path.write_text("before")

    def appends():
        with path.open("a") as file:
            file.write("x")
        path.read_text()

    assert [call.what for call in await undeclared(appends)] == ["Path.read_text()"]


async def test_what_a_side_effect_has_written_is_found(tmp_path):
    """A replay does not run the effect: the file would not be there."""
    path = tmp_path / "download"

    async def downloads():
        path.write_text("an attempt")
        await step.side_effect("download", lambda: path.write_text("x"))
        path.read_text()

    assert [call.what for call in await undeclared(downloads)] == ["Path.read_text()"]


async def test_a_file_that_took_the_place_of_the_runs_own_is_found(tmp_path):
    mine, other = tmp_path / "mine", tmp_path / "other"
    other.touch()

    def replaces():
        mine.write_text("x")
        os.replace(other, mine)
        mine.read_text()

    assert [call.what for call in await undeclared(replaces)] == ["Path.read_text()"]


STARTING = {
    "subprocess.run()": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
    "subprocess.check_output()": lambda: subprocess.check_output([sys.executable, "-c", ""]),
    "subprocess.Popen()": lambda: subprocess.Popen([sys.executable, "-c", ""]).wait(),
    "os.system()": lambda: os.system(f'"{sys.executable}" -c ""'),
    "os.popen()": lambda: os.popen(f'"{sys.executable}" -c ""').close(),
}


@KINDS
@pytest.mark.parametrize("what", STARTING)
async def test_a_program_is_found(what, kind):
    (call,) = await undeclared(STARTING[what], kind=kind)
    assert (call.what, call.file, call.line) == (what, str(HERE), STARTING[what].__code__.co_firstlineno)
    assert "side_effect" in call.cure


async def test_a_program_that_asyncio_starts_is_found():
    async def starts():
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
        await process.wait()

    (call,) = await undeclared(starts)
    assert (call.what, call.line) == ("asyncio.create_subprocess_exec()", starts.__code__.co_firstlineno + 1)


# --- the run's own


def writes_and_reads(path):
    path.write_text("x")
    assert path.read_text() == "x"


def reads_while_it_writes(path):
    with path.open("w+") as file:
        file.write("x")
        file.flush()
        assert path.read_text() == "x"


def writes_beside_and_moves(path):
    draft = path.with_suffix(".draft")
    draft.write_text("x")
    os.replace(draft, path)
    assert path.read_text() == "x"


def unpacks(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "x")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(path.parent)
    assert (path.parent / "a").read_text() == "x"


def copies(path):
    path.write_text("x")
    shutil.copy(path, path.with_suffix(".copy"))
    assert path.with_suffix(".copy").read_text() == "x"


def uses_temporary_files(_):
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write("x")
        file.flush()
        assert Path(file.name).read_text() == "x"
    with tempfile.TemporaryDirectory() as folder:
        writes_and_reads(Path(folder) / "a")
    descriptor, name = tempfile.mkstemp()
    os.close(descriptor)
    open(name).close()
    Path(name).unlink()


@KINDS
@pytest.mark.parametrize(
    "body",
    [
        writes_and_reads,
        reads_while_it_writes,
        writes_beside_and_moves,
        unpacks,
        copies,
        uses_temporary_files,
    ],
)
async def test_what_the_run_has_written_it_may_read(body, kind, tmp_path):
    assert await undeclared(lambda: body(tmp_path / "mine"), kind=kind) == ()


async def test_what_one_tool_has_written_another_may_read(tmp_path):
    path = tmp_path / "notes"

    @tool
    def take_note() -> str:
        path.write_text("x")
        return "done"

    @tool
    async def look_up() -> str:
        return path.read_text()

    script = ScriptedProvider().tool_call("take_note").turn().tool_call("look_up").turn().text("done")
    with recording() as session:
        await agent(script, take_note, look_up).run("go")
    assert session.undeclared == ()


# --- a part of the code


@pytest.fixture
def berlin(tmp_path):
    """A time zone that `zoneinfo` finds in a folder of its own, whatever this machine has."""
    (tmp_path / "zones" / "Europe").mkdir(parents=True)
    header = b"TZif" + b"\0" * 16 + b"".join(n.to_bytes(4, "big") for n in (0, 0, 0, 0, 1, 4))
    (tmp_path / "zones" / "Europe" / "Berlin").write_bytes(header + b"\0\0\x0e\x10\0\0CET\0")
    zoneinfo.reset_tzpath(to=[str(tmp_path / "zones")])
    yield "Europe/Berlin"
    zoneinfo.reset_tzpath()


async def test_time_zones_are_no_false_alarm(berlin, tmp_path):
    assert await undeclared(lambda: zoneinfo.ZoneInfo.no_cache(berlin), roots=[tmp_path, HERE.parent]) == ()


@pytest.mark.parametrize("packaged", [True, False])
async def test_data_in_a_package_of_the_projects_belongs_to_the_code(packaged, tmp_path):
    package = tmp_path / "project" / "app"
    (package / "prompts").mkdir(parents=True)
    (package / "prompts" / "system.md").write_text("Be brief.")
    if packaged:
        (package / "__init__.py").touch()

    def reads():
        (package / "prompts" / "system.md").read_text()

    found = await undeclared(reads, roots=[tmp_path / "project", HERE.parent])
    assert [call.what for call in found] == ([] if packaged else ["Path.read_text()"])


async def test_a_package_of_somebody_elses_is_input(tmp_path):
    (tmp_path / "__init__.py").touch()
    assert [call.what for call in await undeclared(lambda: open(tmp_path / "__init__.py").close())] == ["open()"]


async def test_package_data_by_importlib_are_no_false_alarm(tmp_path, monkeypatch):
    (tmp_path / "resourceful").mkdir()
    (tmp_path / "resourceful" / "__init__.py").touch()
    (tmp_path / "resourceful" / "prompt.md").write_text("Be brief.")
    monkeypatch.syspath_prepend(tmp_path)

    def reads():
        assert importlib.resources.files("resourceful").joinpath("prompt.md").read_text() == "Be brief."

    assert await undeclared(reads, roots=[tmp_path, HERE.parent]) == ()
    del sys.modules["resourceful"]


# --- what Python opens by the way


def shows_tracebacks():
    linecache.clearcache()
    try:
        raise ValueError("x")
    except ValueError:
        assert "ValueError" in traceback.format_exc()
        logging.getLogger("project").exception("hello")
    assert "shows_tracebacks" in warnings.formatwarning("x", UserWarning, __file__, LINE)


LINE = shows_tracebacks.__code__.co_firstlineno


def asks_python():
    mimetypes.init()
    mimetypes.guess_type("a.txt")
    locale.getlocale()
    gettext.translation("none", fallback=True)
    codecs.lookup("koi8_r")
    "x".encode("idna")
    ssl.create_default_context()
    tempfile.gettempdir()


def imports():
    for name in ("colorsys", "wave"):
        sys.modules.pop(name, None)
        importlib.import_module(name)


def discards():
    with open(os.devnull, "r+") as file:
        print("x", file=file)
    Path(os.devnull).open().close()
    sys.stderr.write("x")


def talks_through_a_pipe():
    reads, writes = os.pipe()
    os.close(writes)
    with open(reads) as file:
        assert file.read() == ""


def reads_installed_code():
    open(pytest.__file__).close()
    open(traceback.__file__).close()


@KINDS
@pytest.mark.parametrize(
    "body",
    [shows_tracebacks, asks_python, imports, discards, talks_through_a_pipe, reads_installed_code],
)
async def test_what_python_opens_by_the_way_is_no_false_alarm(body, kind):
    assert await undeclared(body, kind=kind) == ()


async def test_a_log_file_is_no_false_alarm(tmp_path):
    def logs():
        handler = logging.FileHandler(tmp_path / "log")
        logger = logging.getLogger("project")
        logger.addHandler(handler)
        logger.warning("hello")
        logger.removeHandler(handler)
        handler.close()

    assert await undeclared(logs, kind="sync") == ()
