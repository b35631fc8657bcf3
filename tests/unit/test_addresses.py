"""The address guard's judgement, and HTTP targets: what is asked for and what redirects pass on."""

import asyncio
import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.addresses import AddressPolicy
from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.net.dial import Dialer
from sluice.net.target import HttpTarget


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_permitted(address: str) -> None:
    assert AddressPolicy().permits(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::", "", "example.com", "127.1",
        "0x7f000001", "64:ff9b::a00:1", "64:ff9b:1::7f00:1", "::127.0.0.1", "::10.0.0.1", "fec0::1",
    ],
)  # fmt: skip
def test_everything_else_is_not(address: str) -> None:
    assert not AddressPolicy().permits(address)


def test_opened_networks() -> None:
    policy = AddressPolicy(["127.0.0.0/8", "fd00::/8"])
    assert policy.permits("127.0.0.1")
    assert policy.permits("::ffff:127.0.0.1")
    assert policy.permits("fd00::1")
    assert not policy.permits("10.0.0.1")


@given(st.text(max_size=40))
def test_a_text_that_is_no_address_is_never_permitted(text: str) -> None:
    AddressPolicy().permits(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "169.254.169.254", "127.1", "0x7f.1", "2130706433"])
def test_resolving_an_address_that_is_not_allowed(host: str) -> None:
    with pytest.raises(SourceError, match="--allow-networks") as caught:
        asyncio.run(Dialer(AddressPolicy()).resolve(host, 80))
    assert caught.value.reason is Reason.ADDRESS_NOT_ALLOWED
    assert not caught.value.transient
    assert host in str(caught.value)


def test_resolving_an_allowed_address() -> None:
    assert asyncio.run(Dialer(AddressPolicy(["127.0.0.0/8"])).resolve("127.0.0.1", 80)) == ["127.0.0.1"]


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example"])
def test_a_name_that_cannot_be_one(host: str) -> None:
    with pytest.raises(SourceError, match="cannot be resolved") as caught:
        asyncio.run(Dialer(AddressPolicy()).resolve(host, 80))
    assert caught.value.reason is Reason.SOURCE_UNREACHABLE
    assert caught.value.transient


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("http://example.com", "example.com", 80, "/"),
        ("https://Example.com/a/b.mp4?x=1&y=%20", "example.com", 443, "/a/b.mp4?x=1&y=%20"),
        ("http://example.com:8080/ä b?q=ü", "example.com", 8080, "/%C3%A4%20b?q=%C3%BC"),
        ("http://[2001:db8::1]:81/x#part", "2001:db8::1", 81, "/x"),
    ],
)
def test_targets(url: str, host: str, port: int, path: str) -> None:
    target = HttpTarget.parse(url)
    assert (target.host, target.port, target.path) == (host, port, path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "file:///etc/passwd",
        "ftp://example.com/",
        "http://",
        "http:///x",
        "http://h:99999/",
        "http://[::1/",
    ],
)
def test_urls_that_are_not_usable(url: str) -> None:
    with pytest.raises(SourceError, match="no usable address") as caught:
        HttpTarget.parse(url)
    assert caught.value.reason is Reason.SOURCE_UNSUPPORTED
    assert not caught.value.transient


def test_requests() -> None:
    request = HttpTarget.parse("http://user:p%40ss@[2001:db8::1]:81/x").request(5, "agent/1").decode()
    lines = request.split("\r\n")
    assert lines[:2] == ["GET /x HTTP/1.1", "Host: [2001:db8::1]:81"]
    assert "Range: bytes=5-" in lines
    assert f"Authorization: Basic {base64.b64encode(b'user:p@ss').decode()}" in lines
    assert lines[-2:] == ["", ""]
    assert (
        "Host: xn--bcher-kva.example\r\n"
        in HttpTarget.parse("http://bücher.example/").request(0, "a").decode()
    )


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_url_can_add_a_header(path: str, query: str) -> None:
    try:
        target = HttpTarget.parse(f"http://example.com/{path}?{query}")
    except SourceError:
        return
    raw = target.request(0, "agent")
    assert raw.count(b"\r\n") == 8
    assert raw.isascii()
    assert raw.split(b"\r\n")[0].count(b" ") == 2


@pytest.mark.parametrize(
    ("location", "url", "credentials"),
    [
        ("/b", "http://u:p@h/b", "u:p"),
        ("http://h/b", "http://h/b", "u:p"),
        ("http://h:81/b", "http://h:81/b", None),
        ("https://h/b", "https://h/b", None),
        ("http://other/b", "http://other/b", None),
        ("//other/b", "http://other/b", None),
    ],
)
def test_credentials_stay_with_their_server(location: str, url: str, credentials: str | None) -> None:
    target = HttpTarget.parse("http://u:p@h/a").follow(location)
    assert (target.url, target.credentials) == (url, credentials)


def test_a_redirect_to_a_file_is_refused() -> None:
    with pytest.raises(SourceError, match="no usable address"):
        HttpTarget.parse("http://h/a").follow("file:///etc/passwd")
