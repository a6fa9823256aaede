"""Options and ini keys → settings; the command line wins over the ini file. Read when a session needs them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import pytest

from pytest_starling._options import MODES, NONDETERMINISM

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Mode", "Nondeterminism", "Settings", "in_ci", "read_settings"]

Mode: TypeAlias = Literal["replay", "new", "changed", "all"]
Nondeterminism: TypeAlias = Literal["warn", "error", "off"]

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
        mode: ``replay`` never records; ``new`` records what is missing, ``changed`` also what diverges, ``all``
            everything selected.
        root: pytest's rootdir, to which node ids refer.
        base: the directory of the configuration file, to which paths given in markers refer.
        folder: where fixtures are kept, absolute.
        verify: replay each recording once before it is put in place.
        compare_cost: a changed price is a divergence.
        nondeterminism: what becomes of a recording whose code uses clocks, randomness or IO past `starling.step`:
            a warning (``warn``), a failure (``error``); ``off`` does not look for it.
    """

    mode: Mode
    root: Path
    base: Path
    folder: Path
    verify: bool = True
    compare_cost: bool = False
    nondeterminism: Nondeterminism = "warn"

    @property
    def records(self) -> bool:
        """Whether anything may be recorded."""
        return self.mode != "replay"

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
    return Settings(
        mode=_mode(config),
        root=root,
        base=config.inipath.parent if config.inipath else root,
        folder=Path(os.path.normpath(root / (config.getoption("golden_dir") or config.getini("golden_dir")))),
        verify=config.getini("golden_verify") if verify is None else verify == "on",
        compare_cost=config.getini("golden_compare_cost"),
        nondeterminism=_nondeterminism(config),
    )


def _nondeterminism(config: pytest.Config) -> Nondeterminism:
    chosen = config.getoption("golden_nondeterminism") or config.getini("golden_nondeterminism")
    if chosen not in NONDETERMINISM:
        raise pytest.UsageError(f"golden_nondeterminism = {chosen!r} is none of {', '.join(NONDETERMINISM)}")
    return cast("Nondeterminism", chosen)


def _mode(config: pytest.Config) -> Mode:
    allowed = config.getoption("golden_allow_ci_record") or not in_ci(os.environ)
    asked, option = _asked_for(config)
    if asked is not None:
        if asked != "replay" and not allowed:
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
    if flag:
        return "changed", "--record-golden"
    return mode, f"--golden-mode={mode}"
