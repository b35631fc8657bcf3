"""What is asked with: headers, passwords and cookies, and to whom they go."""

import pytest

from sluice.core.http_url import HttpUrl, join_url
from sluice.core.request_headers import RequestHeaders, check_headers, check_user_agent
from sluice.net.context import HttpContext
from sluice.wire.http_answer import Head


def _lines(context: HttpContext, url: str, begin: int | None = 0) -> list[str]:
    request = context.request(HttpUrl.parse(url), begin).decode("ascii")
    head, end, rest = request.partition("\r\n\r\n")
    assert end
    assert not rest
    return head.split("\r\n")


def _named(context: HttpContext, url: str, name: str) -> list[str]:
    lines = _lines(context, url)[1:]
    return [line.partition(": ")[2] for line in lines if line.lower().startswith(f"{name}:")]


def test_a_request() -> None:
    lines = _lines(HttpContext(), "http://user:p%40ss@[2001:db8::1]:81/x#part", 5)
    assert lines[0] == "GET /x HTTP/1.1"
    assert "Host: [2001:db8::1]:81" in lines
    assert "Range: bytes=5-" in lines
    assert "Accept-Encoding: identity" in lines
    assert "Authorization: Basic dXNlcjpwQHNz" in lines
    assert not any(line.startswith("Range") for line in _lines(HttpContext(), "http://h/", None))
    assert "Host: xn--bcher-kva.example" in _lines(HttpContext(), "http://bücher.example/")


def test_passwords_go_to_their_origin_alone() -> None:
    context = HttpContext()
    assert _named(context, "http://u:p@h/a", "authorization")
    assert _named(context, "http://h/other", "authorization")
    for other in ("https://h/", "http://h:81/", "http://h.example/", "http://g/"):
        assert not _named(context, other, "authorization")
    assert _named(context, join_url("http://u:p@h/a", "/b"), "authorization")
    context.request(HttpUrl.parse("http://wrong:pw@h/"), 0)
    assert _named(context, "http://h/", "authorization") == ["Basic dTpw"]


def test_cookies_of_one_source() -> None:
    context = HttpContext()
    head = Head(302, "", (("set-cookie", "a=1; path=/"), ("set-cookie", "b=2")))
    context.learn(HttpUrl.parse("http://h/x/y"), head)
    assert _named(context, "http://h/x/z", "cookie") == ["b=2; a=1"]
    assert _named(context, "http://h/", "cookie") == ["a=1"]
    assert not _named(context, "http://g/", "cookie")
    assert not _named(HttpContext(), "http://h/", "cookie")


def test_headers_of_an_operator() -> None:
    headers = (("Referer", "https://site/"), ("X-Api-Key", "k"), ("Accept", "audio/*"), ("Cookie", "o=1"))
    context = HttpContext(RequestHeaders("Player/1", headers))
    context.learn(HttpUrl.parse("http://h/"), Head(200, "", (("set-cookie", "a=1"),)))
    lines = _lines(context, "http://h/a")
    for line in ("User-Agent: Player/1", "Referer: https://site/", "X-Api-Key: k", "Cookie: o=1; a=1"):
        assert line in lines
    assert _named(context, "http://h/", "accept") == ["audio/*"]
    elsewhere = _lines(context, "http://cdn/a")
    assert "Referer: https://site/" in elsewhere
    assert not [line for line in elsewhere if line.startswith(("X-Api-Key", "Cookie"))]


def test_what_operators_may_not_set() -> None:
    assert check_headers({"Referer": "https://h/", "X-A": ""}) == {"Referer": "https://h/", "X-A": ""}
    for headers in (
        {"Host": "x"},
        {"content-length": "5"},
        {"Transfer-Encoding": "chunked"},
        {"User-Agent": "x"},
        {"X A": "x"},
        {"": "x"},
        {"X-A:": "x"},
        {"X-A": "x\r\nHost: y"},
        {"X-A": "ü"},
        {"X-A": " x"},
        {"X-A": "x" * 3000},
        {"X-A": "1", "x-a": "2"},
        {f"X-{n}": "1" for n in range(21)},
    ):
        with pytest.raises(ValueError, match=r"."):
            check_headers(headers)
    with pytest.raises(ValueError, match="printable"):
        check_user_agent("a\nb")


def test_masks() -> None:
    headers = RequestHeaders("x", (("Referer", "r"), ("Authorization", "Bearer s"), ("X-Token", "t")))
    assert headers.masked() == {"Referer": "r", "Authorization": "***", "X-Token": "***"}
    assert "Bearer" not in repr(headers)
