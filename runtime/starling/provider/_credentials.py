"""Where an adapter's key comes from, and what is wrong with it: at construction, before anything is sent."""

from __future__ import annotations

import os

from starling.errors import AuthError
from starling.provider._errors import provider_error_text

__all__ = ["check_key", "key_from"]


def key_from(given: str | None, *variables: str) -> str:
    """The key that was passed in, else that of the first environment variable that is set, else ""."""
    found = given if given is not None else next((os.environ[name] for name in variables if os.environ.get(name)), "")
    # Keys come out of files and secret stores with a line end.
    return found.strip()


def check_key(key: str, *, provider: str, variable: str, instead: str = "", required: bool = True) -> None:
    """Refuse a key that is missing, or that no header can carry.

    Args:
        provider: the provider's id.
        variable: the environment variable that the message names.
        instead: what else would do, in words behind ``api_key=``.
        required: whether this endpoint takes a key at all.

    Raises:
        AuthError: with the variable's name; never with the key.
    """
    __tracebackhide__ = True  # pytest then shows the line that builds the adapter; so in all that leads here
    if not key.isascii() or not key.isprintable():
        # An HTTP client would refuse the header, and quote the key in its message.
        raise _refused("the API key holds characters that no HTTP header can carry; copy it again", provider)
    if required and not key:
        raise _refused(f"no API key: set {variable}, or pass api_key={f' {instead}' if instead else ''}", provider)


def _refused(text: str, provider: str) -> AuthError:
    return AuthError(provider_error_text(provider, text), provider=provider)
