"""A cassette's model calls. Parsed by vcrpy itself, so that whatever it has written, in any version, can be read.

What belongs here: the file, vcrpy's shapes, content codings. What an answer means is `_answer`'s business.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from starling.errors import CassetteError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Interaction", "Vendor", "read_interactions"]

Vendor: TypeAlias = Literal["openai", "anthropic"]

_PATHS: tuple[tuple[str, Vendor], ...] = (("/chat/completions", "openai"), ("/v1/messages", "anthropic"))
"""How the path of a model call ends, whatever the host: gateways and compatible servers keep it."""
_INSTALL = {"br": "pip install brotli"}
"""What vcrpy needs for a content coding that Python itself does not know."""
_MOST_OTHERS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """One recorded model call.

    Attributes:
        number: its place among all interactions of the file, from 1.
        request: the body of the request.
        headers: the answer's, names in lower case. body: the answer's, without content coding.
    """

    number: int
    vendor: Vendor
    request: Mapping[str, Any]
    status: int
    headers: Mapping[str, str]
    body: bytes


def read_interactions(path: Path, name: str) -> tuple[Interaction, ...]:
    """The model calls of a cassette; what else was recorded there is left out.

    Args:
        name: the file as errors name it.

    Raises:
        MissingExtraError: vcrpy is not installed.
        CassetteError: the file is not there, is no cassette, or holds no model call that can be used.
    """
    pairs = _load(path, name)
    found, others = [], []
    for number, (request, response) in enumerate(pairs, 1):
        vendor = _vendor(request)
        if vendor is None:
            others.append(f"{request.method} {request.uri.partition('?')[0]}")
        else:
            found.append(_interaction(f"{name}, interaction {number}", number, vendor, request, response))
    if not found:
        raise CassetteError(f"{name} holds no chat completion and no Anthropic message{_told(others)}", path=name)
    return tuple(found)


def _told(others: list[str]) -> str:
    more = [f"{len(others) - _MOST_OTHERS} more"] if len(others) > _MOST_OTHERS else []
    return f", but {', '.join([*dict.fromkeys(others[:_MOST_OTHERS]), *more])}" if others else ": it is empty"


def _load(path: Path, name: str) -> list[tuple[Any, Any]]:
    """Pairs of request and response, as vcrpy's loader makes them."""
    if importlib.util.find_spec("vcr") is None:
        raise MissingExtraError("pip install 'pytest-starling[vcrpy]'", extra="vcrpy")
    from vcr.serialize import deserialize
    from vcr.serializers import jsonserializer, yamlserializer

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise CassetteError(f"{name} {why}", path=name) from error
    serializer = jsonserializer if text.lstrip().startswith("{") else yamlserializer
    try:
        requests, responses, *_ = deserialize(text, serializer)
    except Exception as error:  # vcrpy and PyYAML have no class in common for what is no cassette
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise CassetteError(f"{name} is no cassette that vcrpy can read ({why})", path=name) from error
    return list(zip(requests, responses, strict=True))


def _vendor(request: Any) -> Vendor | None:
    path = urlsplit(request.uri).path.rstrip("/")
    return next((vendor for end, vendor in _PATHS if request.method == "POST" and path.endswith(end)), None)


def _interaction(where: str, number: int, vendor: Vendor, request: Any, response: Any) -> Interaction:
    try:
        response = _plain(response)
        headers = {key.lower(): _first(value) for key, value in (response["headers"] or {}).items()}
        body, status = response["body"]["string"] or b"", int(response["status"]["code"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CassetteError(f"{where}: the answer has no status, headers and body as vcrpy writes them") from error
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in {"", "identity"}:
        cure = _INSTALL.get(coding, "record it with vcrpy's decode_compressed_response=True")
        raise CassetteError(f"{where}: the answer is compressed ({coding}), which vcrpy cannot undo here: {cure}")
    return Interaction(
        number=number,
        vendor=vendor,
        request=_request_body(where, request.body),
        status=status,
        headers=headers,
        body=body if isinstance(body, bytes) else body.encode(),
    )


def _plain(response: dict[str, Any]) -> dict[str, Any]:
    """The answer in vcrpy's general shape (older versions had one of their own for httpx), and decompressed."""
    from vcr.filters import decode_response
    from vcr.serializers.compat import convert_body_to_bytes

    if "status_code" in response:
        response = {
            "status": {"code": response["status_code"]},
            "headers": response["headers"],
            "body": {"string": response["content"]},
        }
    headers = {key: [_first(value)] for key, value in (response["headers"] or {}).items()}
    plain: dict[str, Any] = decode_response(convert_body_to_bytes({**response, "headers": headers}))
    return plain


def _first(value: Any) -> str:
    """A header's value; vcrpy keeps lists of them."""
    return str(value[0] if isinstance(value, list | tuple) and value else value)


def _request_body(where: str, body: Any) -> Mapping[str, Any]:
    """What was asked, which today's requests are compared with."""
    if hasattr(body, "read"):
        body = body.read()
    try:
        parsed = body if isinstance(body, dict) else json.loads(body)
    except (TypeError, ValueError):
        parsed = None
    if not isinstance(parsed, dict):
        raise CassetteError(f"{where}: the body of the request is not JSON, so that nothing can be compared with it")
    if parsed.get("n") not in (None, 1):
        raise CassetteError(f"{where}: the request asks for {parsed['n']} answers (n), and a turn has one")
    return parsed
