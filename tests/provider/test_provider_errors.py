"""Failures are classed by status or by cause, and worded as RunFailed records them."""

import socket
import ssl

import pytest

from starling.errors import AuthError, NetworkError, ProviderError, RateLimitError, ServerError
from starling.provider import classify_transport, provider_error_text, wrap_http_status


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


def test_a_suppressed_context_is_not_a_cause():
    error = ValueError("bad")
    error.__context__ = ConnectionResetError("reset")
    error.__suppress_context__ = True
    assert type(classify_transport(error, provider="p")) is ProviderError


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
