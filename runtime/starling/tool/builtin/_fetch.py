"""HTTP GET of public addresses.

Strategy: what can be told from a URL alone is checked before anything is sent, for the first URL and for every
redirect. What a name resolves to is checked where the connection is made, and the connection goes to the very address
that was checked: a name server that answers differently the second time has no second time. Host header and TLS
server name stay the name's.
"""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starling import ambient
from starling.errors import MissingExtraError, ToolError, TransientToolError
from starling.tool._function import FunctionTool, tool
from starling.tool._threads import run_in_thread
from starling.tool.builtin._addresses import Address, is_public, parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import httpx

__all__ = ["Fetcher", "fetch"]

_REDIRECTS = {301, 302, 303, 307, 308}
_TRY_AGAIN = {408, 425, 429}  # and every 5xx


def fetch() -> FunctionTool[[str], Coroutine[Any, Any, str]]:
    """A tool that gets the text at a public ``http`` or ``https`` URL.

    At most 1 MiB, 15 seconds and 5 redirects. Local, private and otherwise special addresses are refused, also as the
    target of a redirect, and so are credentials in the URL. Proxies set in the environment are not used: behind one,
    nobody could tell which address is reached. 5xx, 408, 425, 429, timeouts and broken connections are
    `TransientToolError`; the tool is idempotent.

    Raises:
        MissingExtraError: httpx is not installed.
    """
    if importlib.util.find_spec("httpx") is None:
        raise MissingExtraError("pip install 'pytest-starling[fetch]'", extra="fetch")
    return tool(_fetch, name="fetch", idempotent=True)


async def _fetch(url: str) -> str:
    """Get the text at a public http or https URL (at most 1 MiB)."""
    fetcher = Fetcher()
    fetcher.check(url)
    return await ambient.side_effect(f"fetch {url}", lambda: fetcher.get(url))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """The limits of a GET, and how it is made.

    Attributes:
        timeout_s: seconds for the whole of it, redirects included.
        max_bytes: of the body.
        max_redirects: how many are followed.
        may_connect: whether an address may be connected to.
    """

    timeout_s: float = 15.0
    max_bytes: int = 1024 * 1024
    max_redirects: int = 5
    may_connect: Callable[[Address], bool] = is_public

    def check(self, url: str) -> httpx.URL:
        """The URL, parsed.

        Raises:
            ToolError: it is one that is refused before any name is resolved.
        """
        import httpx

        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, ValueError) as error:
            raise ToolError(f"cannot fetch {url}: not a URL") from error
        if problem := self._problem(parsed):
            raise ToolError(f"cannot fetch {url}: {problem}")
        return parsed

    def _problem(self, url: httpx.URL) -> str | None:
        if url.scheme not in {"http", "https"}:
            return "only http and https URLs are allowed"
        if not url.host:
            return "the URL has no host"
        if url.userinfo:
            return "credentials in the URL are not allowed"
        name = url.host.rstrip(".").lower()
        if (address := parse_address(name)) is None:
            address = parse_address("::1") if name == "localhost" or name.endswith(".localhost") else None
        if address is not None and not self.may_connect(address):
            return f"{url.host} is not a public address"
        return None

    async def get(self, url: str) -> str:
        """The text at a URL.

        Raises:
            ToolError: it is refused, too large, redirected too often, or answered with an error.
            TransientToolError: trying again may help.
        """
        import httpcore
        import httpx

        try:
            async with asyncio.timeout(self.timeout_s):
                return await self._follow(self.check(url))
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise TransientToolError(f"GET {url}: no complete answer within {self.timeout_s:g} s") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpx.HTTPError) as error:
            if _is_certificate(error):
                raise ToolError(f"GET {url}: the server's certificate is not valid for it") from error
            raise TransientToolError(f"GET {url}: the connection failed ({type(error).__name__})") from error

    async def _follow(self, url: httpx.URL) -> str:
        import httpx

        from starling.tool.builtin._transport import CheckedTransport

        transport = CheckedTransport(self.addresses)
        headers = {"accept-encoding": "identity", "user-agent": "pytest-starling-fetch"}
        # No timeouts of its own: `get` bounds the whole.
        async with httpx.AsyncClient(transport=transport, timeout=None, headers=headers) as client:  # noqa: S113
            for _ in range(self.max_redirects + 1):
                async with client.stream("GET", url, follow_redirects=False) as response:
                    location = response.headers.get("location")
                    if response.status_code not in _REDIRECTS or location is None:
                        return await self._text(response)
                url = self.check(str(url.join(location)))
        raise ToolError(f"GET {url}: more than {self.max_redirects} redirects")

    async def _text(self, response: httpx.Response) -> str:
        url, status = response.request.url, response.status_code
        if status >= 500 or status in _TRY_AGAIN:
            raise TransientToolError(f"GET {url}: HTTP {status}")
        if not response.is_success:
            raise ToolError(f"GET {url}: HTTP {status}")
        if (encoding := response.headers.get("content-encoding", "identity")) != "identity":
            # Decoding it here could make any amount of data out of little; it was not asked for.
            raise ToolError(f"GET {url}: the answer is compressed ({encoding}) although that was not asked for")
        return _decoded(await self._body(response), response.charset_encoding)

    async def _body(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > self.max_bytes:
                raise ToolError(f"GET {response.request.url}: the answer is larger than {self.max_bytes} bytes")
        return bytes(body)

    async def addresses(self, host: str, port: int) -> list[str]:
        """What a host resolves to, if all of it may be connected to.

        Raises:
            ToolError: one of the addresses may not. A name that mixes public and private ones is up to no good.
            TransientToolError: the name does not resolve.
        """
        try:
            found = await run_in_thread(socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise TransientToolError(f"the host {host} cannot be resolved") from error
        addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
        for text in addresses:
            address = parse_address(text)
            if address is None or not self.may_connect(address):
                raise ToolError(f"the host {host} leads to an address that is not public")
        return addresses


def _decoded(body: bytes, charset: str | None) -> str:
    try:
        return body.decode(charset or "utf-8", "replace")
    except LookupError:  # the server names a charset that does not exist
        return body.decode("utf-8", "replace")


def _is_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
