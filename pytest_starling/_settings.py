"""Options and ini keys → settings; the command line wins over the ini file. Read when a session needs them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import pytest

from pytest_starling._cassette import chosen
from pytest_starling._options import DIFF, MODES, NETWORK, NONDETERMINISM, UNUSED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_starling._redaction import Rule

__all__ = ["UNSETTLED", "Diff", "Mode", "Network", "Nondeterminism", "Settings", "Unused", "in_ci", "read_settings"]

Diff: TypeAlias = Literal["short", "full"]
Mode: TypeAlias = Literal["replay", "new", "changed", "all", "tail"]
Network: TypeAlias = Literal["block", "allow"]
Nondeterminism: TypeAlias = Literal["warn", "error", "off"]
Unused: TypeAlias = Literal["off", "warn", "fail", "delete"]

_CI_VARIABLES = (
    "CI",
    "CONTINUOUS_INTEGRATION",
    "BUILD_NUMBER",
    "BUILDKITE",
    "CIRCLECI",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "JENKINS_URL",
    "TEAMCITY_VERSION",
    "TF_BUILD",
    "TRAVIS",
)
_NO = frozenset({"", "0", "false", "no", "off"})
"""Values, in lower case, with which a variable says no: CI=false is not CI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the command line and the ini file come to.

    Attributes:
        mode: ``replay`` never records; ``new`` records what is missing, ``changed`` also what diverges, ``tail`` the
            same but for the turns before the first divergence, which it keeps, ``all`` everything selected.
        root: pytest's rootdir, to which node ids refer.
        settled: where the project begins does not depend on where pytest is called.
        base: the directory of the configuration file, to which paths given in markers refer.
        folder: where fixtures are kept, absolute.
        verify: replay each recording once before it is put in place.
        compare_cost: a changed price is a divergence.
        redact: what is replaced in recordings, and in what a replay compares with them.
        secrets_allow: what is no secret: names of environment variables, with wildcards, and of shapes of keys.
        nondeterminism: what becomes of a recording whose code uses clocks, randomness or IO past `starling.step`:
            a warning (``warn``), a failure (``error``); ``off`` does not look for it.
        network: ``block`` refuses connections while a golden test replays, ``allow`` lets them all through.
        allow_hosts: what every golden test may reach nevertheless; see `_hosts`.
        unused: what becomes of fixtures that no collected test owns: ``off`` does not look for them, ``warn`` names
            them, with ``fail`` the session fails besides, with ``delete`` they go, if all of it was run and passed.
        diff: how much of a divergence is printed: what fits on a screen (``short``), or everything that differs.
        cassette: whose answers a recording takes in place of a provider's; see `_cassette`. Empty for none.
        report: the file that gets the outcome of every golden run, ``.json`` or ``.md``; None for no such file.
    """

    mode: Mode
    root: Path
    base: Path
    folder: Path
    settled: bool = True
    verify: bool = True
    compare_cost: bool = False
    redact: tuple[Rule, ...] = ()
    secrets_allow: tuple[str, ...] = ()
    nondeterminism: Nondeterminism = "warn"
    network: Network = "block"
    allow_hosts: tuple[str, ...] = ()
    unused: Unused = "warn"
    cassette: str = ""
    report: Path | None = None
    diff: Diff = "short"

    @property
    def records(self) -> bool:
        """Whether anything may be recorded."""
        return self.mode != "replay"

    @property
    def mends(self) -> bool:
        """Whether what diverges, or cannot be used, is recorded too."""
        return self.mode in ("changed", "tail")

    @property
    def uses_cassette(self) -> bool:
        """Whether what is recorded takes its answers from a cassette."""
        return self.records and bool(self.cassette)

    def shown(self, path: Path) -> str:
        """A path as people are shown it: from the rootdir where it lies below it."""
        try:
            return path.relative_to(self.root).as_posix()
        except ValueError:
            return str(path)


def in_ci(environment: Mapping[str, str]) -> bool:
    """Whether one of the usual variables says that this is a CI machine."""
    return any(environment.get(name, "").strip().lower() not in _NO for name in _CI_VARIABLES)


def read_settings(config: pytest.Config) -> Settings:
    """Put options and ini keys together.

    Raises:
        pytest.UsageError: they contradict each other, or ask to record in CI.
    """
    root = config.rootpath
    verify = config.getoption("golden_verify")
    cassette = chosen(config)
    mode = _mode(config, cassette)
    if cassette and mode == "tail":
        raise pytest.UsageError(
            "golden_mode tail keeps what is recorded and goes live from there, which contradicts a cassette: give one "
            "of them (--golden-cassette= takes back the ini key)"
        )
    return Settings(
        mode=mode,
        cassette=cassette,
        root=root,
        base=config.inipath.parent if config.inipath else root,
        folder=Path(os.path.normpath(root / (config.getoption("golden_dir") or config.getini("golden_dir")))),
        settled=_is_settled(config),
        verify=config.getini("golden_verify") if verify is None else verify == "on",
        compare_cost=config.getini("golden_compare_cost"),
        redact=_redact(config),
        secrets_allow=tuple(config.getini("golden_secrets_allow")),
        nondeterminism=_choice(config, "golden_nondeterminism", NONDETERMINISM),
        network=_choice(config, "golden_network", NETWORK),
        allow_hosts=_allow_hosts(config),
        unused=_choice(config, "golden_unused", UNUSED),
        report=_report(config),
        diff=_diff(config),
    )


UNSETTLED = (
    "No configuration file says where the project begins, so it begins where pytest is called; an empty pytest.ini in "
    "the project's folder settles that."
)


def _is_settled(config: pytest.Config) -> bool:
    """Whether the rootdir is a file's choice, or an option's; by itself pytest takes it from where it is called."""
    return bool(config.inipath or config.getoption("rootdir") or (config.rootpath / "setup.py").exists())


def _choice(config: pytest.Config, name: str, words: Sequence[str]) -> Any:
    """One of a few words: the option's, else the ini key's, which no parser has checked."""
    chosen = config.getoption(name) or config.getini(name)
    if chosen not in words:
        raise pytest.UsageError(f"{name} = {chosen!r} is none of {', '.join(words)}")
    return chosen


def _redact(config: pytest.Config) -> tuple[Rule, ...]:
    lines = config.getini("golden_redact")
    if not lines:
        return ()
    from pytest_starling._redaction import read_rules

    return read_rules(lines)


def _allow_hosts(config: pytest.Config) -> tuple[str, ...]:
    hosts = tuple(config.getini("golden_allow_hosts"))
    if hosts:
        from pytest_starling._hosts import wrong_hosts

        wrong = wrong_hosts(hosts)
        if wrong:
            raise pytest.UsageError(*(f"golden_allow_hosts: {sentence}" for sentence in wrong))
    return hosts


def _diff(config: pytest.Config) -> Diff:
    if config.getoption("golden_diff") or config.getini("golden_diff"):
        return cast("Diff", _choice(config, "golden_diff", DIFF))
    return "full" if config.get_verbosity() >= 2 else "short"  # -vv asks for whole diffs everywhere in pytest


def _report(config: pytest.Config) -> Path | None:
    """Where the report goes: an option's path starts where pytest was called, an ini key's beside the ini file."""
    given, written = config.getoption("golden_report"), config.getini("golden_report")
    if not given and not written:
        return None
    home = config.inipath.parent if config.inipath else config.rootpath
    path = Path(os.path.normpath((config.invocation_params.dir if given else home) / (given or written)))
    name = f"--golden-report={given}" if given else f"golden_report = {written}"
    if path.suffix.lower() not in (".json", ".md"):
        raise pytest.UsageError(f"{name}: the name says how it is written, and must end in .json or .md")
    fault = "" if hasattr(config, "workerinput") else _fault(path)
    if fault:
        raise pytest.UsageError(f"{name} cannot be written: {fault}")
    return path


def _fault(path: Path) -> str:
    """Why a file cannot be written; empty if it probably can."""
    if path.is_dir():
        return f"{path} is a folder"
    nearest = next(folder for folder in path.parents if folder.exists())
    if not nearest.is_dir():
        return f"{nearest} is a file where a folder is needed"
    return "" if os.access(nearest, os.W_OK | os.X_OK) else f"the folder {nearest} is not writable"


def _mode(config: pytest.Config, cassette: str) -> Mode:
    allowed = config.getoption("golden_allow_ci_record") or not in_ci(os.environ)
    asked, option = _asked_for(config)
    if asked is not None:
        if asked != "replay" and not (allowed or cassette):
            raise pytest.UsageError(
                f"{option} is refused in CI, where it would spend tokens on every push: record at your desk and commit "
                "the fixture, or add --golden-allow-ci-record if this job is meant to record"
            )
        return asked
    mode = config.getini("golden_mode")
    if mode not in MODES:
        raise pytest.UsageError(f"golden_mode = {mode!r} is none of {', '.join(MODES)}")
    return cast("Mode", mode) if allowed else "replay"


def _asked_for(config: pytest.Config) -> tuple[Mode | None, str]:
    """The mode that the command line asks for, and the option that does."""
    flag, mode = config.getoption("record_golden"), cast("Any", config.getoption("golden_mode"))
    if flag and mode not in (None, "changed"):
        raise pytest.UsageError(
            f"--record-golden means --golden-mode=changed and contradicts --golden-mode={mode}: give one of them"
        )
    if config.getoption("golden_cassette"):
        if mode == "replay":
            raise pytest.UsageError("--golden-cassette records, and contradicts --golden-mode=replay: give one of them")
        return mode or "changed", "--golden-cassette"
    if flag:
        return "changed", "--record-golden"
    return mode, f"--golden-mode={mode}"
