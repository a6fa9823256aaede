"""Python programs in child processes that are forked from a warm one, as if each had been started anew.

Starting an interpreter, pytest and the runtime costs a second of processor time, and hundreds of tests need a process of
their own. So one server, started with the first of them, imports all that and forks a child for each request: with its
own arguments, environment, folder and standard streams, and killed or ended like any process. What it cannot show is
what an interpreter does at its start, and what is imported when; tests of that use `subprocess`.

A request is one message over a socket, with the child's standard streams beside it. The answer is the child's id and,
once it has ended, its status.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import inspect
import io
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
from functools import cache
from pathlib import Path

POSSIBLE = sys.platform == "linux"  # elsewhere each is a process of its own: forking is not safe, or not there
_MESSAGE = 1 << 18  # bytes of a request at most: an environment and a command line
_ADDRESS = sys.argv[1] if __name__ == "__main__" else ""  # in the server and what it forks
_WITHOUT = [word for name in ("cacheprovider", "randomly", "rerunfailures") for word in ("-p", f"no:{name}")]
_PROJECT = """
import pytest
from starling import Agent, Config, MemoryLog, tool
from starling.testing import ScriptedProvider

@tool
async def echo(word: str) -> str:
    "A tool."
    return word

@pytest.mark.golden_run
@pytest.mark.asyncio
async def test_warm():
    provider = ScriptedProvider().tool_call("echo", {"word": "a"}).turn().text("Done.")
    await Agent(provider, Config(model="m"), MemoryLog(), tools=[echo]).run("go")  # run_sync would start a thread
"""


# --- asking ------------------------------------------------------------------------------------------------------


def run(command, *, cwd=None, env=None, input=""):
    """As `subprocess.run` with captured text; the command is `sys.executable`, then ``-m``, ``-c`` or a script."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(input.encode())
        given.seek(0)
        code = Popen(command, cwd=cwd, env=env, stdin=given, stdout=out, stderr=err).wait()
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(command, code, out.read().decode(), err.read().decode())


class _Forked:
    """As much of `subprocess.Popen` as tests, pytester and xdist use. Streams are files, None or PIPE."""

    def __init__(self, command, *, cwd=None, env=None, stdin=None, stdout=None, stderr=None):
        assert command[0] == sys.executable, command
        request = {
            "words": [os.fspath(word) for word in command[1:]],
            "folder": os.fspath(cwd or Path.cwd()),
            "environment": dict(os.environ if env is None else env),
        }
        self.stdin, given = _pipe(stdin, 0, writes=True)
        self.stdout, out = _pipe(stdout, 1, writes=False)
        self.stderr, err = _pipe(stderr, 2, writes=False)
        self.returncode = None
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.connect(_ADDRESS or _server())
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MESSAGE)
        socket.send_fds(self._connection, [json.dumps(request).encode()], [given, out, err])
        for ours, theirs in ((self.stdin, given), (self.stdout, out), (self.stderr, err)):
            if ours is not None:
                os.close(theirs)
        self.pid = int(self._connection.recv(32))

    def wait(self):
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(int(self._connection.recv(32)))
            self._connection.close()
        return self.returncode

    def kill(self):
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)


Popen = _Forked if POSSIBLE else subprocess.Popen


def _pipe(stream, standard, *, writes):
    """Our end, if there is one, and the descriptor that the child gets."""
    if stream is None:
        return None, standard
    if stream != subprocess.PIPE:
        return None, stream.fileno()
    reading, writing = os.pipe()
    ours, theirs = (writing, reading) if writes else (reading, writing)
    return open(ours, "wb" if writes else "rb", buffering=-1), theirs  # noqa: PTH123 - the caller's


@cache
def _server():
    """Where the server listens: started with the first request, it ends with this process, whose pipe it reads."""
    address = str(Path(tempfile.mkdtemp(prefix="forked")) / "s")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "STARLING_", "CI"))}
    server = subprocess.Popen(
        [sys.executable, __file__, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean
    )
    assert server.stdout.readline() == b"ready\n"
    atexit.register(_stop, server)
    return address


def _stop(server):
    server.stdin.close()
    server.stdout.close()
    server.wait()


def fork_workers():
    """Have xdist's workers forked, too, by sessions inside this process. Returns what undoes it."""
    from execnet import gateway_base, gateway_io

    original = gateway_io.Popen2IOMaster

    class Forked(original):
        def __init__(self, args, execmodel):
            if args[0] != sys.executable:
                super().__init__(args, execmodel)
                return
            self.popen = child = Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            gateway_base.Popen2IO.__init__(self, child.stdin, child.stdout, execmodel=execmodel)

    if POSSIBLE:
        gateway_io.Popen2IOMaster = Forked
    return lambda: setattr(gateway_io, "Popen2IOMaster", original)


# --- the server --------------------------------------------------------------------------------------------------


class _Warmth:
    """Imports within a session of pytest what sessions import, since pytest rewrites the plugins' assertions then."""

    def __init__(self):
        os.environ["CI"] = "true"

    def pytest_load_initial_conftests(self):
        importlib.import_module("hypothesis")  # which looks once: on a loaded machine no example is too slow
        del os.environ["CI"]

    def pytest_collection(self):
        import pytest_starling

        for module in pkgutil.walk_packages(pytest_starling.__path__, "pytest_starling."):
            if "syrupy" not in module.name:
                importlib.import_module(module.name)
        for name in ("openai", "xdist.remote", "xdist.workermanage", "starling.explain"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


def _warm():
    import pytest

    paths = [*sys.path]
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere, contextlib.chdir(folder):  # noqa: PTH123
        Path("test_warm.py").write_text(_PROJECT)
        Path("pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            for mode in ("--golden-mode=all", "--golden-mode=replay"):
                code = pytest.main([*_WITHOUT, mode], plugins=[_Warmth()])
                assert code == pytest.ExitCode.OK
        del sys.modules["test_warm"]
    sys.path[:] = paths
    inspect.getmodule(_warm.__code__)  # goes through all modules, the first time; every traceback asks
    assert threading.active_count() == 1  # a child has none of the others
    fork_workers()
    gc.collect()
    gc.freeze()  # so that no collection in a child touches, and so copies, every page


def _serve():
    """Fork for every request. Returns what to do, in each child; ends with the process that started this one."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(_ADDRESS)
    listener.listen(64)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            Path(_ADDRESS).unlink()
            Path(_ADDRESS).parent.rmdir()
            sys.exit()
        connection, _ = listener.accept()
        if not os.fork():
            listener.close()
            return _keep(connection)
        connection.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _keep(connection):
    """One process for each child: it waits for it, and tells how it ended."""
    message, streams, _, _ = socket.recv_fds(connection, _MESSAGE, 3)
    child = os.fork()
    if not child:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        for stream in streams:
            os.close(stream)
        return json.loads(message)
    for stream in (0, 1, 2, *streams):
        os.close(stream)
    with contextlib.suppress(OSError):  # who asked may be gone
        connection.send(str(child).encode())
        _, status = os.waitpid(child, 0)
        connection.send(str(status).encode())
    os._exit(0)


def _become(words, folder, environment):
    """Be the process that was asked for. Returns what it runs."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    importlib.invalidate_caches()
    flags = set()
    while words[0] in ("-u", "-B"):
        flags.add(words.pop(0))
    unbuffered = "-u" in flags or bool(environment.get("PYTHONUNBUFFERED"))
    sys.dont_write_bytecode = "-B" in flags or bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(open(0, "rb", closefd=False), "utf-8")  # noqa: SIM115
    sys.stdout = sys.__stdout__ = _writes(1, "strict", line_buffering=False, write_through=unbuffered)
    sys.stderr = sys.__stderr__ = _writes(2, "backslashreplace", line_buffering=True, write_through=unbuffered)
    if words[0].startswith("-m") and len(words[0]) > 2:
        words[:1] = ["-m", words[0][2:]]
    how, *rest = words
    first = {"-m": folder, "-c": ""}.get(how, str(Path(how).parent))
    paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [first, *paths, *sys.path]
    if how == "-m":
        sys.argv[:] = rest
        return lambda: runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    if how == "-c":
        sys.argv[:] = ["-c", *rest[1:]]
        return lambda: _execute(rest[0], "<string>")
    sys.argv[:] = words
    return lambda: _execute(Path(how).read_text(encoding="utf-8"), how)


def _writes(number, errors, **buffering):
    file = open(number, "wb", buffering=0 if buffering["write_through"] else -1, closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(file, "utf-8", errors, **buffering)


def _execute(text, name):
    module = types.ModuleType("__main__")
    module.__file__ = name
    sys.modules["__main__"] = module
    exec(compile(text, name, "exec"), module.__dict__)


if __name__ == "__main__":
    del sys.path[0]  # this file's folder
    _warm()
    _become(**_serve())()
