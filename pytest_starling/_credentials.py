"""Which environment variables hold credentials, and every form in which such a value may stand in a recording. Pure.

A credential is told by its variable's name. Values that give nothing away are left out, since they stand in many a text
by chance: short ones, paths of files that exist, and what is put where a key is not needed (``test-key``).
"""

from __future__ import annotations

import base64
import html
import json
import re
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Credentials", "forms", "is_credential", "is_named_like_one"]

SHORTEST = 8
"""Characters; a shorter value would be found in texts that have nothing to do with it."""
_LONG_LINE = 20
_JSON_LEVELS = 3
"""How often JSON text may stand inside JSON text."""

_NAMED = re.compile(
    r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|AUTH|OAUTH2|AUTHORIZATION|BEARER|JWT|COOKIE|DSN|PWD"
    r"|(?<!BY)(?<!COM)(?<!SUR)(?<!TRES)(?<!OVER)(?<!UNDER)(?<!ONE)(?<!TWO)(?<!FIRST)(?<!SINGLE)(?<!MULTI)PASS"
    r"|(?<![A-Z])(?:PAT|CREDS?))S?\d*(?:_|\Z)"
)
_ABOUT_ONE = re.compile(
    r"_(?:FILE|PATH|DIR|SOCK|SOCKET|URL|URI|ENDPOINT|HOST|NAME|TYPE|ALGORITHM|METHOD|MODE|PROVIDER|ISSUER|AUDIENCE"
    r"|SCOPES?|TTL|TIMEOUT|DOMAIN|PREFIX|SAMESITE|AGE|DSN)\Z"
)
"""Ends the name of a variable that says something about a credential, and is none, unless one stands in it."""
_HOLDS_ONE = re.compile(r"@|\bp(?:ass)?w(?:or)?d\s*=", re.IGNORECASE)
_WORKING_FOLDERS = frozenset({"PWD", "OLDPWD"})


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ALONE = _words(
    "anonymous changeme default development disabled localhost optional password placeholder production required "
    "staging undefined"
)
"""Values that are no secret by themselves."""
_MADE_UP = _words(
    "changeme dummy example fake invalid mock mocked none null placeholder sample stub test testing unused your"
)
_BESIDE = _words(
    "a access admin anthropic api app auth bar baz bearer ci credential credentials dev foo for gemini google here id "
    "in is key keys local me my needed no not only openai password private public real root secret sk the this token "
    "user value"
)
"""Words that make a value no secret if one of `_MADE_UP` stands among them: ``sk-test-key``."""
_PASSWORD = re.compile(r"\A[a-zA-Z][\w+.-]*://[^/?#:@\s]*:([^/?#\s]+)@")
"""That of a URL."""
_SEPARATORS = re.compile(r"[-_.:/ ]+")


_ENTITIES = tuple(
    str.maketrans(dict(zip(characters, names.split(), strict=True)))
    for characters, names in (
        ("\"'", "&#34; &#39;"),  # MarkupSafe
        ("\"'", "&quot; &#39;"),  # lodash, PHP
        ("\"'+", "&#34; &#39; &#43;"),  # Go
        ("\"'/`=", "&quot; &#39; &#x2F; &#x60; &#x3D;"),  # Mustache
        ("\"'/", "&quot; &#x27; &#x2F;"),  # OWASP
    )
)
"""How others than Python's `html.escape` write what it writes otherwise, or leaves as it is."""


class Credentials:
    """The credentials that the environment held at any of the times at which it was looked at, by variable.

    A test may set a variable and take it back before its recording is saved.

    Args:
        allowed: names of variables, with wildcards, whose values are no secrets.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = tuple(allowed)
        self._found: dict[str, set[str]] = {}

    def note(self, environment: Mapping[str, str]) -> None:
        """Look at the environment."""
        for name in filter(is_named_like_one, environment):  # by name: to get a value out of os.environ takes longer
            if not any(fnmatchcase(name, allowed) for allowed in self._allowed):
                value = environment.get(name, "")  # "" if another thread has just removed it
                values = {one for one in _parts(value.strip()) if is_credential(one)}
                if _ABOUT_ONE.search(name.upper()) and not _HOLDS_ONE.search(value):
                    continue
                self._found.setdefault(name, set()).update(values)

    @property
    def needles(self) -> dict[str, str]:
        """Every form of every value, with the name of the variable it comes from; of several the first by name."""
        needles: dict[str, str] = {}
        for name in sorted(self._found):
            for value in self._found[name]:
                for form in forms(value):
                    needles.setdefault(form, name)
        return needles


@lru_cache(maxsize=1024)
def is_named_like_one(name: str) -> bool:
    """Whether a variable of this name holds a credential, as far as a name can tell."""
    return name.upper() not in _WORKING_FOLDERS and _NAMED.search(name.upper()) is not None


def is_credential(value: str) -> bool:
    """Whether a value of such a variable could give anything away."""
    if len(value) < SHORTEST or len(set(value)) == 1 or value.lower() in _ALONE:
        return False
    words = {word for word in _SEPARATORS.split(value.lower()) if word}
    if words & _MADE_UP and words <= _MADE_UP | _BESIDE:
        return False
    return not _is_path(value)


def _is_path(value: str) -> bool:
    """Whether it names a file that exists."""
    try:
        return value.startswith(("/", "~", ".")) and Path(value).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long for a path, a NUL, no home
        return False


def forms(value: str) -> Iterator[str]:
    """A value as it is, and as it stands in JSON inside JSON, URLs, HTML, reprs, escapes, hexadecimal and base64."""
    escaped = {value}
    for _ in range(_JSON_LEVELS):
        yield from escaped
        escaped = {form for one in escaped for form in _json_forms(one)}
    yield from escaped
    for quoted in (quote(value), quote(value, safe=""), quote_plus(value)):
        yield quoted
        yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), quoted)
    yield html.escape(value)
    for entities in _ENTITIES:
        yield html.escape(value, quote=False).translate(entities)
    yield from _spelt_out(value)
    yield repr(value)[1:-1]
    data = value.encode("utf-8", "surrogateescape")
    for hexadecimal in (data.hex(), data.hex(":"), data.hex(" ")):
        yield hexadecimal
        yield hexadecimal.upper()
    for one in {value, *_json_forms(value)}:
        yield from _base64_forms(one.encode("utf-8", "surrogateescape"))


def _spelt_out(value: str) -> Iterator[str]:
    """Every character as an escape of JSON, or as a numeric entity of HTML: some encoders leave none as it is."""
    units = value.encode("utf-16-be", "surrogatepass")
    points = [ord(character) for character in value]
    for digits in ("x", "X"):
        yield "".join(f"\\u{int.from_bytes(units[at : at + 2]):04{digits}}" for at in range(0, len(units), 2))
        yield "".join(f"&#x{point:{digits}};" for point in points)
    yield "".join(f"&#{point};" for point in points)


def _json_forms(text: str) -> Iterator[str]:
    for ascii_only in (True, False):
        escaped = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield escaped
        yield escaped.replace("/", "\\/")


def _base64_forms(data: bytes) -> Iterator[str]:
    """What base64 makes of the value wherever in other data it stands: its own characters, without those it shares."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + data).decode()
        own = text[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        yield own
        yield own.translate(str.maketrans("+/", "-_"))


def _parts(value: str) -> Iterator[str]:
    """A value, the long lines of one that has several, and the credentials in one that is a JSON object or a URL."""
    yield value
    password = _PASSWORD.search(value)
    if password:
        yield password[1]
        yield unquote(password[1])
    if "\n" in value:
        yield from (line for line in map(str.strip, value.splitlines()) if len(line) >= _LONG_LINE and line[0] != "-")
    if value.startswith("{"):
        try:
            yield from _members(json.loads(value))
        except ValueError:
            return


def _members(value: Any, name: str = "") -> Iterator[str]:
    match value:
        case dict():
            for key, one in value.items():
                yield from _members(one, str(key))
        case list():
            for one in value:
                yield from _members(one, name)
        case str() if is_named_like_one(name) and not _ABOUT_ONE.search(name.upper()):
            yield from _parts(value.strip())
