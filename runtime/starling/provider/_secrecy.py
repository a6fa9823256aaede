"""Keeping an API key out of what an adapter raises: out of texts, and out of what a log would record of the exceptions.

Strategy: of the exceptions that a caller is given, an agent records arguments, attributes and causes
(`starling.step._exceptions`), and SDKs put a whole response into them. Our own errors are made clean. A foreign one is
the SDK's to write, so a cause that holds the key anywhere is let go of, with all that is behind it. Pure.
"""

from __future__ import annotations

import io
from contextlib import suppress
from email.message import Message
from types import MemberDescriptorType
from typing import TYPE_CHECKING, TypeVar

from starling.provider._vendor_errors import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starling.errors import StarlingError

E = TypeVar("E", bound="StarlingError")

__all__ = ["clean", "holds"]


def clean(error: E, secret: str) -> E:
    """The same error, its text and attributes without the secret, and without causes that hold it.

    Args:
        error: one of ours; its attributes are plain.
        secret: the API key; "" if there is none.
    """
    if not secret:
        return error
    error.args = tuple(redact(arg, secret) if isinstance(arg, str) else arg for arg in error.args)
    for name, value in vars(error).items():
        if isinstance(value, str):
            setattr(error, name, redact(value, secret))
    if any(link is not None and holds(link, secret) for link in (error.__cause__, error.__context__)):
        error.__cause__ = error.__context__ = None
    return error


def holds(value: object, secret: str) -> bool:
    """Whether the secret stands anywhere in a value: in text, in bytes, in what containers and exceptions have in them.

    Objects of other classes are not looked into: they are not recorded.
    """
    pending = [value]
    seen: dict[int, object] = {}  # with the values, so that none is collected and its id used again
    while pending:
        found = pending.pop()
        if isinstance(found, str | bytes | bytearray):
            if secret in (found if isinstance(found, str) else found.decode(errors="replace")):
                return True
        elif id(found) not in seen:
            seen[id(found)] = found
            pending.extend(_parts(found))
    return False


def _parts(value: object) -> Iterator[object]:
    match value:
        case dict():
            yield from value.keys()
            yield from value.values()
        case list() | tuple() | set() | frozenset():
            yield from value
        case BaseException():
            yield from _told_by(value)
        case io.BytesIO() | io.StringIO() if not value.closed:
            yield value.getvalue()
        case Message():
            yield value.items()


def _told_by(error: BaseException) -> Iterator[object]:
    with suppress(Exception):  # the class is the SDK's
        yield str(error)
    yield error.args
    yield vars(error)
    yield from _members(error)
    yield from (error.__cause__, error.__context__)
    if isinstance(error, BaseExceptionGroup):
        yield error.exceptions
    with suppress(Exception):
        match error.__reduce_ex__(2):
            case (made_by, args, *_) if getattr(made_by, "__self__", None) is type(error):
                yield repr(args)  # made again by a class method, which is shown what other objects look like


def _members(error: BaseException) -> Iterator[object]:
    """What is kept in slots, and by classes written in C in members (`OSError.filename`)."""
    for owner in type(error).__mro__:
        for name, member in vars(owner).items():
            if isinstance(member, MemberDescriptorType) and not name.startswith("__"):
                yield getattr(error, name, None)
