"""Recording from cassettes: which file a test's model calls are answered from, and what is wrong with it.

vcrpy's files become golden fixtures without a token being spent. What they mean is the runtime's business
(`starling.provider.cassette`); here they are found, and what they do not answer is said.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_starling import StarlingWarning, _recording_failures

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from pytest_starling._failure import Failure
    from pytest_starling._location import NodeName
    from pytest_starling._session import GoldenItem
    from pytest_starling._state import Golden
    from starling.provider.cassette import Cassette

__all__ = ["cassette_path", "chosen", "judge", "opened", "wrong_choice"]

_PLACEHOLDER = re.compile(r"\{(module|class|function|id|test)\}")
_FORBIDDEN = re.compile(r"""[<>?%*:|"'/\\]""")
"""Characters that pytest-recording, too, keeps out of the names of cassettes."""


def chosen(config: pytest.Config) -> str:
    """The option's file, else the ini key's: absolute, or with placeholders. Empty: providers are called.

    An option's path starts where pytest was called, an ini key's beside the ini file, and one with placeholders beside
    the module of each test.
    """
    given: str | None = config.getoption("golden_cassette")
    file: str = config.getini("golden_cassette") if given is None else given
    if not file or _PLACEHOLDER.search(file):
        return file
    home = config.inipath.parent if config.inipath and given is None else config.rootpath
    return os.path.normpath((config.invocation_params.dir if given else home) / file)


def cassette_path(file: str, root: Path, name: NodeName) -> Path:
    """Where the cassette of a test is.

    Args:
        file: as `chosen` returns it. root: to which node ids refer.
    """
    module = root / name.module
    own = f"{name.function}{'' if name.params is None else f'[{name.params}]'}"
    values = {
        "module": module.stem,
        "class": ".".join(name.classes),
        "function": name.function,
        "id": name.params or "",
        "test": ".".join((*name.classes[-1:], own)),
    }
    filled = _PLACEHOLDER.sub(lambda match: _FORBIDDEN.sub("-", values[match[1]]), file)
    return Path(os.path.normpath(module.parent / filled))


def wrong_choice(golden: Golden) -> list[str]:
    """What is wrong with the choice of one cassette for all that is selected; empty if nothing is."""
    settings = golden.settings
    count = len(golden.items)
    if not settings.uses_cassette or count <= 1 or _PLACEHOLDER.search(settings.cassette):
        return []
    text = (
        f"one cassette ({settings.shown(Path(settings.cassette))}) cannot answer for {count} golden tests: select one, "
        "or put {module}, {class}, {function}, {id} or {test} into its path, as in cassettes/{module}/{test}.yaml"
    )
    return [text]


def opened(golden: GoldenItem, refused: Callable[[Exception], None]) -> Cassette | Failure | None:
    """The cassette that answers a test's model calls, or why it cannot; None where providers are called.

    Args:
        refused: told of each request that the cassette does not answer.
    """
    settings = golden.settings
    if not settings.uses_cassette:
        return None
    from starling.errors import MissingExtraError
    from starling.provider.cassette import Cassette, CassetteError

    path = cassette_path(settings.cassette, settings.root, golden.name)
    try:
        return Cassette(path, name=settings.shown(path), refused=refused)
    except (CassetteError, MissingExtraError) as error:
        return _recording_failures.cassette(golden, error)


def judge(golden: GoldenItem, cassette: Cassette | None) -> Failure | None:
    """Warn of answers that nothing asked for; where warnings are errors, say why the recording is refused."""
    if cassette is None or not cassette.unused:
        return None
    numbers = ", ".join(str(number) for number in cassette.unused)
    text = (
        f"{golden.name.text}: {cassette.name} has {len(cassette.unused)} of {cassette.size} model calls that were not "
        f"asked for (interactions {numbers}): the recording says less than the cassette did"
    )
    try:
        golden.item.warn(StarlingWarning(text))
    except StarlingWarning as warning:
        return _recording_failures.cassette(golden, warning)
    return None
