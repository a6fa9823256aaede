"""allow_hosts: what an entry may be, and what it lets through."""

import ipaddress

import pytest

from pytest_starling._hosts import AllowedHosts, as_address, as_name, is_local_name, is_loopback, wrong_hosts

NAMES = [
    ("api.example.com", "api.example.com", 443, True),
    ("api.example.com", "api.example.com", None, True),
    ("API.Example.com.", "api.example.com", 443, True),
    ("api.example.com", "evil-api.example.com", 443, False),
    ("api.example.com", "api.example.com.evil.com", 443, False),
    ("api-example.com", "api.example.com", 443, False),
    ("api.example.com", "apixexample.com", 443, False),
    ("api.example.com:443", "api.example.com", 443, True),
    ("api.example.com:443", "api.example.com", 80, False),
    ("api.example.com:443", "api.example.com", None, True),
    ("*.example.com", "a.b.example.com", 443, True),
    ("*.example.com", "example.com", 443, False),
    ("*.example.com:5432", "db.example.com", 443, False),
    ("httpbin.*", "httpbin.org", 443, True),
    ("*", "anything.org", 443, True),
    ("10.1.2.3", "api.example.com", 443, False),
    ("bücher.example", "xn--bcher-kva.example", 443, True),
]
ADDRESSES = [
    ("10.1.2.3", "10.1.2.3", 80, True),
    ("10.1.2.3", "10.1.2.30", 80, False),
    ("10.1.2.3:80", "10.1.2.3", 81, False),
    ("10.0.0.0/8", "10.200.0.1", 80, True),
    ("10.0.0.1/8", "10.200.0.1", 80, True),
    ("10.0.0.0/8:80", "10.200.0.1", 80, True),
    ("10.0.0.0/8:80", "10.200.0.1", 443, False),
    ("10.0.0.0/8", "11.0.0.1", 80, False),
    ("10.*", "10.200.0.1", 80, True),
    ("10.*", "110.200.0.1", 80, False),
    ("*", "192.0.2.1", 80, True),
    ("2001:db8::1", "2001:db8::1", 80, True),
    ("2001:db8::/32", "2001:db8:5::1", 80, True),
    ("[2001:db8::1]", "2001:db8::1", 80, True),
    ("[2001:db8::1]:443", "2001:db8::1", 80, False),
    ("[2001:db8::1]:443", "2001:db8::1", 443, True),
    ("2001:db8::/32", "10.1.2.3", 80, False),
    ("api.example.com", "10.1.2.3", 80, False),
]
WRONG = [
    "https://api.example.com",
    "https://api.example.com:443/v1",
    "api.example.com/v1",
    "api.example.com:",
    "api.example.com:https",
    "api.example.com:0",
    "api.example.com:65536",
    "[2001:db8::1]:x",
    "10.0.0.0/99",
    "two words",
    "",
]


@pytest.mark.parametrize(("entry", "name", "port", "allowed"), NAMES)
def test_a_name_is_allowed_by_name_pattern_and_port(entry, name, port, allowed):
    assert AllowedHosts([entry]).has_name(name, port) is allowed
    assert AllowedHosts(["other.org", entry]).has_name(name, port) is allowed
    assert not AllowedHosts().has_name(name, port)


@pytest.mark.parametrize(("entry", "address", "port", "allowed"), ADDRESSES)
def test_an_address_is_allowed_by_address_network_pattern_and_port(entry, address, port, allowed):
    assert AllowedHosts([entry]).has_address(ipaddress.ip_address(address), port) is allowed
    assert not AllowedHosts().has_address(ipaddress.ip_address(address), port)


@pytest.mark.parametrize("entry", WRONG)
def test_what_is_no_host_is_refused_and_quoted(entry):
    (sentence,) = wrong_hosts([entry, "api.example.com"])
    assert sentence.startswith(repr(entry))
    with pytest.raises(ValueError, match=r"is no host name|has no port"):
        AllowedHosts([entry])


def test_for_a_url_it_says_what_to_leave_out():
    assert wrong_hosts(["https://api.example.com"]) == [
        "'https://api.example.com' is no host name, address or network. A host stands alone, without scheme and path."
    ]


def test_names_that_are_written_out_can_be_asked_for():
    assert AllowedHosts(["a.org:80", "*.b.org", "10.0.0.1", "a.org", "C.org"]).names == ("a.org", "c.org")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("127.1", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_an_address_is_known_however_it_is_written(text, address):
    assert as_address(text) == ipaddress.ip_address(address)


@pytest.mark.parametrize("text", ["localhost", "api.example.com", "", "1.2.3.4.5", "host:80"])
def test_a_name_is_no_address(text):
    assert as_address(text) is None


@pytest.mark.parametrize("text", ["127.0.0.1", "127.255.0.9", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1", "127.1"])
def test_this_machine_is_loopback(text):
    assert is_loopback(as_address(text))


@pytest.mark.parametrize("text", ["192.0.2.1", "10.0.0.1", "169.254.1.1", "fe80::1", "::ffff:192.0.2.1", "128.0.0.1"])
def test_everything_else_is_not(text):
    assert not is_loopback(as_address(text))


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST.", "app.localhost", ""])
def test_some_names_mean_loopback_by_themselves(name):
    assert is_local_name(as_name(name))


@pytest.mark.parametrize("name", ["localhost.evil.com", "notlocalhost", "local"])
def test_names_that_only_look_like_it_do_not(name):
    assert not is_local_name(as_name(name))


def test_a_name_that_idna_refuses_stays_as_it_is():
    assert as_name("ü" * 80) == "ü" * 80
