"""The command line's options and the ini keys. Imported in every session; `_settings` makes sense of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["DIFF", "MODES", "NETWORK", "NONDETERMINISM", "UNUSED", "add_options", "asked_for_anything"]

DIFF = ("short", "full")
MODES = ("replay", "new", "changed", "all", "tail")
NETWORK = ("block", "allow")
NONDETERMINISM = ("warn", "error", "off")
UNUSED = ("off", "warn", "fail", "delete")


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
        help="replay: never record (the default); new: record what is missing; changed: also what diverges; tail: the "
        "same, but the recorded turns up to the first divergence are kept, so that only what comes behind it calls the "
        "provider; all: record every selected golden test anew",
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
        "--golden-cassette",
        default=None,
        metavar="FILE",
        help="record with a cassette of vcrpy's in place of the model's provider: no key, no tokens. Means "
        "--record-golden. With {module}, {class}, {function}, {id} or {test} in it, FILE is sought beside each test's "
        "module, as in cassettes/{module}/{test}.yaml",
    )
    group.addoption(
        "--golden-nondeterminism",
        choices=NONDETERMINISM,
        default=None,
        help="while recording, look for clocks, random numbers, sockets and file reads that tools use past "
        "starling.step: warn (the default), error (such a recording is not kept), off",
    )
    group.addoption(
        "--golden-unused",
        choices=UNUSED,
        default=None,
        help="fixtures that no collected test owns: off, warn (the default: the summary names them), fail, delete "
        "(only after a whole run that passed)",
    )
    group.addoption(
        "--golden-report",
        default=None,
        metavar="FILE",
        help="write the outcome of every golden run to FILE at the end: .json, or .md for the summary of a CI job",
    )
    group.addoption(
        "--golden-network",
        choices=NETWORK,
        default=None,
        help="while replaying, block connections to anything but loopback and allowed hosts (the default), or allow "
        "them all",
    )
    group.addoption(
        "--golden-diff",
        choices=DIFF,
        default=None,
        help="how much of a divergence is printed: short (the default), or full: whole values, all that differs (also "
        "with -vv)",
    )
    parser.addini("golden_mode", "default of --golden-mode; falls back to replay in CI", default="replay")
    parser.addini("golden_dir", "default of --golden-dir", default="testdata/golden")
    parser.addini(
        "golden_cassette",
        "default of --golden-cassette where something is recorded, from the directory of this file; --golden-cassette= "
        "calls the providers all the same",
        default="",
    )
    parser.addini("golden_verify", "replay each new recording once before it is kept", type="bool", default=True)
    parser.addini("golden_nondeterminism", "default of --golden-nondeterminism", default="warn")
    parser.addini("golden_diff", "default of --golden-diff; empty: short, and full with -vv", default="")
    parser.addini("golden_unused", "default of --golden-unused", default="warn")
    parser.addini("golden_report", "default of --golden-report, from the directory of this file", default="")
    parser.addini("golden_network", "default of --golden-network", default="block")
    parser.addini(
        "golden_allow_hosts",
        "hosts that every golden test may reach while replaying: names, addresses, networks or patterns such as "
        "*.internal, each with :port behind it or not",
        type="args",
        default=[],
    )
    parser.addini(
        "golden_redact",
        "regular expressions, one a line: what they match is replaced by [redacted], or by what stands behind ' => ', "
        "in new recordings and in what a replay compares with them",
        type="linelist",
        default=[],
    )
    parser.addini(
        "golden_secrets_allow",
        "what is no secret though a recording with it is refused: names of environment variables (with wildcards), or "
        "of shapes of keys, such as jwt",
        type="args",
        default=[],
    )
    parser.addini("golden_compare_cost", "a changed price is a divergence", type="bool", default=False)


def asked_for_anything(config: pytest.Config) -> bool:
    """Whether the command line has an option of ours, which then must make sense even without golden tests."""
    names = (
        *("record_golden", "golden_mode", "golden_dir", "golden_verify", "golden_allow_ci_record", "golden_diff"),
        *("golden_network", "golden_nondeterminism", "golden_unused", "golden_report", "golden_cassette"),
    )
    return any(config.getoption(name) for name in names)
