"""The command line's options and the ini keys. Imported in every session; `_settings` makes sense of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["MODES", "NONDETERMINISM", "add_options", "asked_for_anything"]

MODES = ("replay", "new", "changed", "all")
NONDETERMINISM = ("warn", "error", "off")


def add_options(parser: pytest.Parser) -> None:
    """Register options and ini keys."""
    group = parser.getgroup("starling", "golden runs of LLM agents (pytest-starling)")
    group.addoption(
        "--record-golden",
        action="store_true",
        default=False,
        help="replay golden tests, and record those whose recording is missing, unusable or diverges (calls the real "
        "providers). Short for --golden-mode=changed",
    )
    group.addoption(
        "--golden-mode",
        choices=MODES,
        default=None,
        help="replay: never record (the default); new: record what is missing; changed: also what diverges; all: "
        "record every selected golden test anew",
    )
    group.addoption(
        "--golden-dir",
        default=None,
        metavar="DIR",
        help="where golden fixtures are kept, from the rootdir (default: testdata/golden)",
    )
    group.addoption(
        "--golden-verify",
        choices=("on", "off"),
        default=None,
        help="replay each new recording once, and keep it only if that passes (default: on)",
    )
    group.addoption(
        "--golden-allow-ci-record",
        action="store_true",
        default=False,
        help="allow recording in CI, where it is refused otherwise",
    )
    group.addoption(
        "--golden-nondeterminism",
        choices=NONDETERMINISM,
        default=None,
        help="while recording, look for clocks, random numbers, sockets and file reads that tools use past "
        "starling.step: warn (the default), error (such a recording is not kept), off",
    )
    parser.addini("golden_mode", "default of --golden-mode; falls back to replay in CI", default="replay")
    parser.addini("golden_dir", "default of --golden-dir", default="testdata/golden")
    parser.addini("golden_verify", "replay each new recording once before it is kept", type="bool", default=True)
    parser.addini("golden_nondeterminism", "default of --golden-nondeterminism", default="warn")
    parser.addini("golden_compare_cost", "a changed price is a divergence", type="bool", default=False)


def asked_for_anything(config: pytest.Config) -> bool:
    """Whether the command line has an option of ours, which then must make sense even without golden tests."""
    names = ("record_golden", "golden_mode", "golden_dir", "golden_verify", "golden_allow_ci_record")
    return any(config.getoption(name) for name in (*names, "golden_nondeterminism"))
