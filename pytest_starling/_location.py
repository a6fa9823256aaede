"""Node id → path of its fixture. Pure: text in, text out.

``tests/test_x.py::TestA::test_f[big]`` is kept in ``tests/test_x/TestA.test_f[big].db``. A name that had to be
altered (characters that some file system refuses, too long, told from a sibling's only by case) gets a tail, the hash
of what it stands for, so that no two tests share a file.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

__all__ = ["SUFFIX", "NodeName", "fill_template", "has_stray_brace", "is_path", "is_template", "location", "node_name"]

SUFFIX = ".db"
_LONGEST = 120
"""Characters of one path component: with suffix and temporary's affixes below the 143 that eCryptfs allows."""
_TAIL_DIGITS = 8
_UNSAFE = re.compile(r"[^A-Za-z0-9_.,=+\-\[\]]+")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_GROUP = re.compile(r"@[^@\[\]:]*\Z")
_PLACEHOLDER = re.compile(r"\{(class|function|id)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeName:
    """A node id, taken apart.

    Attributes:
        text: the whole id, without the group that xdist appends.
        module: the file's path from the rootdir, with slashes.
        classes: the classes around the function, the outermost first.
        function: its name. params: what stands in the brackets; None without them.
    """

    text: str
    module: str
    classes: tuple[str, ...]
    function: str
    params: str | None

    @property
    def qualified(self) -> str:
        """``Class.function[id]``."""
        tail = "" if self.params is None else f"[{self.params}]"
        return ".".join((*self.classes, self.function)) + tail


def node_name(node_id: str) -> NodeName:
    """Take a node id apart."""
    text = _GROUP.sub("", node_id) if "::" in node_id else node_id
    module, _, rest = text.partition("::")
    names, bracket, params = rest.partition("[")
    *classes, function = names.split("::")
    return NodeName(
        text=text,
        module=module,
        classes=tuple(classes),
        function=function,
        params=params.removesuffix("]") if bracket else None,
    )


def location(name: NodeName, *, ambiguous: bool = False) -> str:
    """Where a test's fixture is kept, relative to the golden folder, with slashes.

    Args:
        ambiguous: a sibling's name differs from this one only by case.
    """
    folders = [_safe(part) for part in name.module.removesuffix(".py").split("/")]
    return "/".join((*folders, _safe(name.qualified, tail=ambiguous) + SUFFIX))


def is_template(path: str) -> bool:
    """Whether a path given in a marker holds placeholders."""
    return _PLACEHOLDER.search(path) is not None


def has_stray_brace(path: str) -> bool:
    """Whether braces in a path given in a marker belong to no placeholder: one of them is misspelled, most likely."""
    return not {"{", "}"}.isdisjoint(_PLACEHOLDER.sub("", path))


def is_path(value: object) -> bool:
    """Whether this is a path that a file can have."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else b""
    if not isinstance(text, str) or not text or "\0" in text:
        return False
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def fill_template(path: str, name: NodeName) -> str:
    """A marker's path for one test."""
    values = {"class": ".".join(name.classes), "function": name.function, "id": name.params or ""}
    return _PLACEHOLDER.sub(lambda match: _safe(values[match[1]]) if values[match[1]] else "", path)


def _safe(text: str, *, tail: bool = False) -> str:
    """A path component that every file system takes, with a hash tail where it is not ``text`` itself."""
    safe = _UNSAFE.sub("_", text).rstrip(".")
    if safe.startswith("."):
        safe = f"_{safe[1:]}"
    if not tail and safe == text and len(safe) <= _LONGEST and not _RESERVED.fullmatch(safe):
        return safe
    return f"{safe[: _LONGEST - _TAIL_DIGITS - 1]}-{_digest(text)}"


def _digest(text: str) -> str:
    from hashlib import sha256

    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_TAIL_DIGITS]
