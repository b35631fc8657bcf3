"""Which cookies go where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.http_url import HttpUrl
from sluice.core.limits import MOST_COOKIE_HEADER_BYTES, MOST_COOKIES
from sluice.wire.cookies import CookieJar

_NOW = 1_000_000_000.0


def _sent(line: str, to: str, *, by: str = "http://a.example.com/x/y", now: float = _NOW) -> str:
    jar = CookieJar()
    jar.store(HttpUrl.parse(by), [line], _NOW)
    return jar.header(HttpUrl.parse(to), now)


@pytest.mark.parametrize(
    ("line", "to", "sent"),
    [
        ("a=1", "http://a.example.com/x/z", True),
        ("a=1", "https://a.example.com/x/", True),
        ("a=1", "http://a.example.com/", False),  # the default path is the folder
        ("a=1; Path=/", "http://a.example.com/", True),
        ("a=1; path=/x", "http://a.example.com/xy", False),
        ("a=1; path=/x", "http://a.example.com/x?y", True),
        ("a=1; path=/", "http://b.example.com/", False),
        ("a=1; path=/", "http://a.example.com.evil.net/", False),
        ("a=1; path=/", "http://xa.example.com/", False),
        ("a=1; path=/; Domain=example.com", "http://b.example.com/", True),
        ("a=1; path=/; Domain=.example.com", "http://example.com/", True),
        ("a=1; path=/; Domain=example.com", "http://badexample.com/", False),
        ("a=1; path=/; Domain=com", "http://a.example.com/", False),
        ("a=1; path=/; Domain=other.com", "http://a.example.com/", False),
        ("a=1; path=/; Domain=b.a.example.com", "http://a.example.com/", False),
        ("a=1; path=/; Secure", "https://a.example.com/", False),  # nobody sets it in the clear
        ("a=1; path=/; Max-Age=0", "http://a.example.com/", False),
        ("a=1; path=/; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "http://a.example.com/", True),
        ("a=1; path=/; Expires=Thu, 01-Jan-1970 00:00:00 GMT", "http://a.example.com/", False),
        ("a=1; path=/; Expires=Fri, 31 Dec 9999 23:59:59 GMT", "http://a.example.com/", True),
        ("a=1; path=/; Expires=whenever", "http://a.example.com/", True),
        ("__Secure-a=1; path=/", "http://a.example.com/", False),
        ("a=1; path=/\x00", "http://a.example.com/", False),
        ("=", "http://a.example.com/x/", False),
        ("a=" + "1" * 5000, "http://a.example.com/x/", False),
    ],
)
def test_rules(line: str, to: str, sent: bool) -> None:
    assert bool(_sent(line, to)) is sent


def test_secure() -> None:
    line, by = "a=1; path=/; Secure", "https://h.example/"
    assert _sent(line, "https://h.example/", by=by) == "a=1"
    assert _sent(line, "http://h.example/", by=by) == ""


def test_addresses_and_ports() -> None:
    by = "http://127.0.0.1:8080/"
    assert _sent("a=1", "http://127.0.0.1:8080/x", by=by) == "a=1"
    assert _sent("a=1", "http://127.0.0.1:8081/x", by=by) == ""
    assert _sent("a=1; Domain=0.0.1", "http://127.0.0.1:8080/x", by=by) == ""
    assert _sent("a=1; Domain=127.0.0.1", "http://127.0.0.1:8080/x", by=by) == "a=1"


def test_order_replacement_and_end() -> None:
    jar, url = CookieJar(), HttpUrl.parse("http://h/x/y")
    jar.store(url, ["a=1; path=/", "b=2; path=/x", "a=3; path=/", "c", "a=4; path=/x; Max-Age=5"], _NOW)
    assert jar.header(url, _NOW) == "b=2; c; a=4; a=3"
    assert jar.header(url, _NOW + 5) == "b=2; c; a=3"
    jar.store(url, ["b=; path=/x; Max-Age=-1"], _NOW)
    assert "b" not in jar.header(url, _NOW)


def test_bounded() -> None:
    jar, url = CookieJar(), HttpUrl.parse("http://h/")
    jar.store(url, [f"n{n}=1" for n in range(1000)], _NOW)
    assert jar.header(url, _NOW).count("=") == MOST_COOKIES


@given(st.text(max_size=60))
def test_nothing_ends_the_line(line: str) -> None:
    sent = _sent(line, "http://a.example.com/x/")
    assert not {"\r", "\n", "\0"} & set(sent)


def test_what_is_sent_is_bounded_in_bytes() -> None:
    url, jar = HttpUrl.parse("http://h/"), CookieJar()
    jar.store(url, [f"n{n}={'v' * 4000}" for n in range(1000)], _NOW)
    assert 12_000 < len(jar.header(url, _NOW)) <= MOST_COOKIE_HEADER_BYTES
