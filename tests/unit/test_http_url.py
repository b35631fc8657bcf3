"""HTTP addresses as browsers read them. What is right was taken from WHATWG's URL Standard."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.http_url import HttpUrl, join_url
from sluice.core.urls import CALLBACK_URL, SOURCE_URL
from sluice.wire.rtmp_url import RtmpUrl


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("http://h", "h", 80, "/"),
        ("HTTPS://H.Example:8443/A", "h.example", 8443, "/A"),
        ("  http://h/a \t", "h", 80, "/a"),
        ("http://h:/a", "h", 80, "/a"),
        ("http://h/歌 曲/夜.mp3?name=音 乐&x='#t=1", "h", 80, "/%E6%AD%8C%20%E6%9B%B2/%E5%A4%9C.mp3?"
         "name=%E9%9F%B3%20%E4%B9%90&x=%27"),
        ("http://h/100%.mp3?a=%zz", "h", 80, "/100%.mp3?a=%zz"),
        ("http://h/%E5%A4%9C.mp3", "h", 80, "/%E5%A4%9C.mp3"),
        ("http://h//a///b", "h", 80, "//a///b"),
        ("http://h/a/../b/./%2e%2E/c/..", "h", 80, "/"),
        ("http://h/..a/b..", "h", 80, "/..a/b.."),
        ("http:\\\\h\\a\\b?c\\d", "h", 80, "/a/b?c\\d"),
        ("http:///h/a", "h", 80, "/a"),
        ("http://h?x=/y", "h", 80, "/?x=/y"),
        ("http://h#x", "h", 80, "/"),
        ("http://h/a?", "h", 80, "/a?"),
        ("http://h/a[1]|{b}^`\"<>", "h", 80, "/a[1]|%7Bb%7D%5E%60%22%3C%3E"),
        ("http://bücher.example/", "xn--bcher-kva.example", 80, "/"),
        ("http://faß.example/", "xn--fa-hia.example", 80, "/"),
        ("http://例え。jp/", "xn--r8jz45g.jp", 80, "/"),
        ("http://a_b.example/", "a_b.example", 80, "/"),
        ("http://ex%61mple/", "example", 80, "/"),
        ("http://[::1]:81/a", "::1", 81, "/a"),
        ("http://１２７.0.0.1/", "127.0.0.1", 80, "/"),
    ],
)  # fmt: skip
def test_addresses(url: str, host: str, port: int, path: str) -> None:
    parsed = HttpUrl.parse(url)
    assert (parsed.host, parsed.port, parsed.path, parsed.credentials) == (host, port, path, None)


@pytest.mark.parametrize(
    ("url", "credentials"),
    [
        ("http://u:p@h/", "u:p"),
        ("http://u@h/", "u:"),
        ("http://u:p@q:r@h/", "u:p@q:r"),
        ("http://u%3a:p%40@h/", "u::p@"),
        ("http://h/u:p@x", None),
        ("http://h?u:p@x", None),
        ("http://h\\@x/", None),
    ],
)
def test_credentials(url: str, credentials: str | None) -> None:
    parsed = HttpUrl.parse(url)
    assert (parsed.host, parsed.credentials) == ("h", credentials)


@pytest.mark.parametrize(
    "url",
    [
        "", "h/p", "//h", "ftp://h/", "http://", "http:///", "http://:80/", "http://a b/", "http://h:0/",
        "http://h:65536/", "http://h:x/", "http://[::1/", "http://[fe80::1%25eth0]/", "http://h\x00/",
        "http://h%00/", "http://h%2fx/", "http://../", "http://\ud800/", "http://h/\ud800",
        "http://" + "ü" * 80,
    ],
)  # fmt: skip
def test_what_is_none(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        HttpUrl.parse(url)


@pytest.mark.parametrize(
    ("base", "reference", "joined"),
    [
        ("http://h/a/b?q", "c", "http://h/a/c"),
        ("http://h//a//b", "c//d", "http://h//a//c//d"),
        ("http://h/a/b?q", "", "http://h/a/b?q"),
        ("http://h/a/b?q", "#f", "http://h/a/b?q"),
        ("http://h/a/b?q", "?x=/..", "http://h/a/b?x=/.."),
        ("https://h/a", "//g/x", "https://g/x"),
        ("http://h/a/b", "\\x\\y", "http://h/x/y"),
        ("http://h/a/b", "\\\\g\\y", "http://g/y"),
        ("http://h/a/b", "../../../x", "http://h/x"),
        ("http://h/a/b/", "..", "http://h/a/"),
        ("http://h/a/b", "http:x", "http://h/a/x"),
        ("http://h/a/b", "http:/x", "http://h/x"),
        ("http://h/a/b", "HTTPS://g/x", "HTTPS://g/x"),
        ("http://h/a/b", " /x y\r\n", "http://h/x y"),
        ("http://h/a/b", "/歌曲/夜.mp3", "http://h/歌曲/夜.mp3"),
        ("http://u:p@h/a", "/x", "http://u:p@h/x"),
        ("http://h", "x", "http://h/x"),
        ("http://h?q=/1", "x", "http://h/x"),
        ("http://h/a", "rtmp://g/x", "rtmp://g/x"),
    ],
)
def test_references(base: str, reference: str, joined: str) -> None:
    assert join_url(base, reference) == joined


@given(st.text(max_size=40))
def test_a_request_target_is_always_one_ascii_word(text: str) -> None:
    for url in (f"http://{text}", f"http://h/{text}", f"http://h?{text}", join_url("http://h/a", text)):
        try:
            parsed = HttpUrl.parse(url)
        except ValueError:
            continue
        assert parsed.path.isascii()
        assert not any(
            character <= " " or character == "\x7f" for character in parsed.path + parsed.authority
        )
        assert HttpUrl.parse(f"{parsed.scheme}://{parsed.authority}{parsed.path}").path == parsed.path


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("[x", "bracket of its IPv6 address is not closed"),
        ("[x]", "must be an IPv6 address"),
        ("[::::]", "must be an IPv6 address"),
        ("[fe80::1%eth0]", "has a zone"),
        ("[::1]x", "other than a port"),
        ("::1", "stands in brackets"),
        (f"{'x' * 64}.example", "longer than 63"),
        (f"{'x.' * 130}example", "longer than 253"),
        ("ü" * 5000, "longer than 253"),
        ("ü" * 70, "no name that can exist"),
        ("a..b", "an empty part"),
        (".a", "an empty part"),
        ("h\ud800", "surrogate"),
        (f"h:{'9' * 5000}", "must be 1 to 65535"),
        ("h:٣", "must be a number"),
        ("h:-1", "must be a number"),
        ("h" + "/x" * 10000, "longer than 16384"),
    ],
)
def test_what_is_said_of_it(host: str, why: str) -> None:
    for parse, url in ((HttpUrl.parse, f"http://{host}/a/b"), (RtmpUrl.parse, f"rtmp://{host}/a/b")):
        with pytest.raises(ValueError, match=why) as caught:
            parse(url)
        assert len(str(caught.value)) < 150
    if len(host) < 4000 and "\ud800" not in host:
        for check in (SOURCE_URL.check, CALLBACK_URL.check):
            with pytest.raises(ValueError, match=why):
                check(f"http://{host}/a/b")


def test_a_port_may_have_zeros_in_front() -> None:
    assert HttpUrl.parse("http://h:000000000080/").port == 80


@pytest.mark.parametrize(
    "base",
    [
        "https://host.example/live/index.m3u8?token=1",
        "http://h",
        "http://h?x=/a/b",
        "https://u:p@h:81/a/../b/./c//d.m3u8?t=1#f",
        "HTTP://H/a%2e/b",
        "http:\\\\h\\a\\b",
        "http://[::1]/a/b",
        "http://h/a?b=c/../d",
    ],
)
def test_what_is_quick_for_plain_names_is_what_joining_gives(base: str) -> None:
    chance = random.Random(base)
    for _ in range(2000):
        name = "".join(chance.choice("aab9_-../?=&%") for _ in range(1, chance.randrange(2, 10)))
        if name[0] in "ab9_-":  # in another way for the same: by a dot, which is not quick
            assert join_url(base, name) == join_url(base, "./" + name)


@pytest.mark.parametrize("base", ["no address", "//h/x", "ftp://h/x", ""])
def test_plain_names_too_need_an_address(base: str) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="http"):
            join_url(base, "name")
