"""Failures are classed by status or by cause, and worded as RunFailed records them."""

import http.client
import socket
import ssl
import urllib.error
from inspect import isclass

import botocore.exceptions
import httpx
import httpx2
import pytest
import urllib3.exceptions

from starling.errors import AuthError, NetworkError, ProviderError, RateLimitError, ServerError
from starling.provider import Request, classify_transport, provider_error_text, wrap_http_status
from starling.provider._transport import is_transport_error
from starling.provider.anthropic import Anthropic
from starling.provider.openai import OpenAI


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProviderError),
        (401, AuthError),
        (403, AuthError),
        (404, ProviderError),
        (422, ProviderError),
        (429, RateLimitError),
        (500, ServerError),
        (503, ServerError),
        (529, ServerError),
    ],
)
def test_the_status_decides_the_class(status, kind):
    error = wrap_http_status("slow down", status, provider="openai", request_id="r", retry_after_s=2.0)
    assert type(error) is kind
    assert str(error) == f'starling: provider "openai" (status {status}): slow down'
    assert (error.provider, error.status, error.request_id, error.retry_after_s) == ("openai", status, "r", 2.0)


@pytest.mark.parametrize("status", [None, 0])
def test_a_message_without_a_status_is_a_plain_provider_error(status):
    error = wrap_http_status("gone", status, provider="scripted")
    assert type(error) is ProviderError
    assert str(error) == 'starling: provider "scripted": gone'
    assert error.status is None


@pytest.mark.parametrize(
    "cause",
    [
        ConnectionRefusedError("refused"),
        socket.gaierror(-2, "Name or service not known"),
        ssl.SSLError("handshake"),
        TimeoutError(),
        EOFError("closed"),
    ],
)
def test_what_the_network_caused_is_a_network_error(cause):
    error = classify_transport(cause, provider="p")
    assert type(error) is NetworkError
    assert error.__cause__ is cause


def test_the_network_is_found_below_an_sdks_own_exception():
    class VendorError(Exception):
        pass

    wrapped = VendorError("Connection error.")
    wrapped.__cause__ = ConnectionResetError("reset")
    assert type(classify_transport(wrapped, provider="p")) is NetworkError


@pytest.mark.parametrize(
    "cause",
    [
        httpx.RemoteProtocolError("peer closed connection without sending complete message body"),
        httpx.ReadTimeout(""),
        httpx2.RemoteProtocolError("incomplete chunked read"),
        httpx2.ConnectError("refused"),
        httpx2.DecodingError("malformed gzip"),
        urllib3.exceptions.ProtocolError("Connection broken"),
        urllib3.exceptions.IncompleteRead(3, 4),
        urllib3.exceptions.ReadTimeoutError(None, "/", "Read timed out."),
        urllib3.exceptions.NewConnectionError(None, "refused"),
        urllib3.exceptions.SSLError("no such certificate"),
        botocore.exceptions.ConnectionClosedError(endpoint_url="https://x"),
        botocore.exceptions.ResponseStreamingError(error="broken"),
        http.client.RemoteDisconnected("no answer"),
    ],
    ids=repr,
)
def test_what_an_http_client_says_of_a_broken_line_is_a_network_error(cause):
    assert type(classify_transport(cause, provider="p")) is NetworkError


@pytest.mark.parametrize(
    "mistake",
    [
        httpx.InvalidURL("no host"),
        httpx2.UnsupportedProtocol("no scheme"),
        httpx2.LocalProtocolError("Illegal header value"),
        httpx2.CookieConflict("two of a name"),
        urllib3.exceptions.LocationParseError("x"),
        urllib.error.URLError("unknown url type"),
        urllib.error.HTTPError("http://x", 404, "Not Found", http.client.HTTPMessage(), None),
        botocore.exceptions.HTTPClientError(error=ValueError("a header of two lines")),
        FileNotFoundError("no such file of certificates"),
    ],
    ids=repr,
)
def test_what_an_http_client_says_of_a_mistake_is_not(mistake):
    assert type(classify_transport(mistake, provider="p")) is ProviderError


def test_an_exception_that_may_mean_either_is_judged_by_its_cause():
    either = urllib.error.URLError("refused")
    either.__context__ = ConnectionRefusedError()
    assert type(classify_transport(either, provider="p")) is NetworkError


@pytest.mark.parametrize(
    "cause",
    [
        urllib.error.URLError(socket.gaierror(-2, "Name or service not known")),
        urllib3.exceptions.MaxRetryError(None, "/", urllib3.exceptions.NewConnectionError(None, "refused")),
        ExceptionGroup("both", [ValueError("x"), ExceptionGroup("inner", [ConnectionResetError("reset")])]),
    ],
    ids=lambda cause: type(cause).__name__,
)
def test_the_network_is_found_wherever_an_exception_keeps_its_cause(cause):
    assert type(classify_transport(cause, provider="p")) is NetworkError


def test_exceptions_that_hold_each_other_are_looked_at_once():
    inner = ValueError("x")
    group = ExceptionGroup("outer", [inner, urllib.error.URLError(inner)])
    inner.__context__ = group
    assert type(classify_transport(group, provider="p")) is ProviderError


@pytest.mark.parametrize("status", ["429", 429.0, b"429"])
def test_a_status_that_is_no_int_is_named(status):
    with pytest.raises(TypeError, match=r"status must be an int such as 429, or None, got .*429"):
        wrap_http_status("slow down", status, provider="p")


MISTAKES = {
    "httpcore": "ConnectionNotAvailable LocalProtocolError UnsupportedProtocol",
    "httpx": """CookieConflict HTTPError HTTPStatusError InvalidURL LocalProtocolError RequestError RequestNotRead
        ResponseNotRead StreamClosed StreamConsumed StreamError TooManyRedirects UnsupportedProtocol""",
    "urllib3.exceptions": """BodyNotHttplibCompatible ClosedPoolError FullPoolError HTTPError HeaderParsingError
        HostChangedError LocationParseError LocationValueError MaxRetryError PoolError ProxySchemeUnknown
        ProxySchemeUnsupported RequestError ResponseError TimeoutStateError URLSchemeUnknown UnrewindableBodyError""",
    "requests.exceptions": """HTTPError InvalidHeader InvalidJSONError InvalidProxyURL InvalidSchema InvalidURL
        JSONDecodeError MissingSchema RequestException RetryError StreamConsumedError TooManyRedirects URLRequired
        UnrewindableBodyError""",
}
"""What is not the network's, of all that a client's module has: mistakes, answers, and bases that say nothing yet."""


@pytest.mark.parametrize(
    ("module", "mistakes"),
    [
        *MISTAKES.items(),
        ("httpcore2", MISTAKES["httpcore"]),
        ("httpx2", MISTAKES["httpx"]),
    ],
)
def test_all_other_exceptions_of_a_client_are_the_networks(module, mistakes):
    """A version of a client that brings a new exception is seen here."""
    members = vars(pytest.importorskip(module)).values()
    kinds = [
        kind for kind in members if isclass(kind) and issubclass(kind, Exception) and not issubclass(kind, Warning)
    ]
    own = [kind for kind in kinds if kind.__module__.partition(".")[0] == module.partition(".")[0]]
    assert {kind.__name__ for kind in own if not is_transport_error(kind.__new__(kind))} == set(mistakes.split())


@pytest.mark.parametrize(
    "name",
    [
        "ConnectTimeoutError",
        "ConnectionClosedError",
        "ConnectionError",
        "EndpointConnectionError",
        "IncompleteReadError",
        "ProxyConnectionError",
        "ReadTimeoutError",
        "ResponseStreamingError",
        "SSLError",
    ],
)
def test_what_botocore_says_of_a_broken_line_is_a_network_error(name):
    kind = getattr(botocore.exceptions, name)
    assert is_transport_error(kind.__new__(kind))


@pytest.mark.parametrize("adapter", [OpenAI, Anthropic])
async def test_an_address_without_a_scheme_is_a_mistake_below_an_sdks_connection_error_too(adapter):
    async with adapter(base_url="nowhere", api_key="") as provider:
        with pytest.raises(ProviderError, match="UnsupportedProtocol") as caught:
            [chunk async for chunk in provider.stream(Request(model="m"))]
    assert type(caught.value) is ProviderError


def test_a_suppressed_context_is_not_a_cause():
    error = ValueError("bad")
    error.__context__ = ConnectionResetError("reset")
    error.__suppress_context__ = True
    assert type(classify_transport(error, provider="p")) is ProviderError


async def test_what_another_call_failed_with_is_not_the_failure_of_the_one_that_stands_in_for_it():
    async def asked_instead(second):
        try:
            raise wrap_http_status(ConnectionResetError("reset"), 429, provider="first")
        except RateLimitError:
            return [chunk async for chunk in second.stream(Request(model="m"))]

    async with OpenAI(base_url="nowhere", api_key="") as second:
        with pytest.raises(ProviderError, match='provider "openai": unexpected UnsupportedProtocol') as caught:
            await asked_instead(second)
    assert type(caught.value) is ProviderError


def test_a_cycle_of_causes_ends():
    one, two = ValueError("1"), ValueError("2")
    one.__cause__, two.__cause__ = two, one
    assert type(classify_transport(one, provider="p")) is ProviderError


def test_an_exception_without_words_is_named_by_its_class():
    assert str(classify_transport(TimeoutError(), provider="p")) == 'starling: provider "p": TimeoutError'


def test_a_classed_error_stays_as_it_is():
    error = RateLimitError("x")
    assert wrap_http_status(error, 500, provider="p") is error


def test_the_provider_is_quoted():
    assert provider_error_text('a"b', "m") == 'starling: provider "a\\"b": m'
