"""Addresses that callers may give: one rule, for sources, callbacks and pushes."""

import pytest

from sluice.core.urls import CALLBACK_URL, SOURCE_URL, host_of


@pytest.mark.parametrize(
    "url",
    [
        "http://h/a b.mp3",
        "https://h/?name=音 乐&x=100%",
        "http://例え.jp/歌",
        "http:\\\\h\\a",
        "http://u:p@h:8080//a",
        " http://h/a ",
        "rtmp://h/live?vhost=x/stream",
        "rtmps://[::1]/app/歌",
    ],
)
def test_taken_as_given(url: str) -> None:
    assert SOURCE_URL.check(url) == url


@pytest.mark.parametrize("character", ["\r", "\n", "\t", "\0", "\x7f", "\x85", "\u2028", "\ud800"])
def test_control_characters(character: str) -> None:
    for url in (
        f"http://h/a{character}b",
        f"http://h{character}/",
        f"rtmp://h/a/{character}",
        f"{character}http://h",
    ):
        with pytest.raises(ValueError, match="control characters"):
            SOURCE_URL.check(url)
    with pytest.raises(ValueError, match="must not have spaces or control characters"):
        CALLBACK_URL.check(f"http://h/a{character}b")


@pytest.mark.parametrize(
    "url",
    ["", "h/a", "http://", "http:// h", "http://h:0/", "http://h:x/", "rtmp:///a/b", "file:///etc/passwd"],
)
def test_unusable(url: str) -> None:
    with pytest.raises(ValueError, match="must be an address with a host"):
        SOURCE_URL.check(url)


def test_too_long() -> None:
    with pytest.raises(ValueError, match="4096"):
        SOURCE_URL.check("http://h/" + "x" * 4096)


def test_host() -> None:
    assert host_of("http:\\\\127.0.0.1\\x@y") == "127.0.0.1"
    assert host_of("rtmp://u:p@[::1]/a") == "::1"


@pytest.mark.parametrize(
    "url",
    ["http://host", "https://user:pass@host:8443/path?query", "http://192.0.2.1/", "http://[2001:db8::1]/"],
)
def test_addresses_that_callbacks_can_go_to(url: str) -> None:
    assert CALLBACK_URL.check(url) == url


@pytest.mark.parametrize(
    "url",
    [
        *("", "host/path", "ftp://host/", "http://", "http:///path", "http://host:0/", "http://host:65536/"),
        *("http://[::1/", "http://host/a b", "http://host/\r\nX: y", f"http://host/{'x' * 4096}"),
    ],
)
def test_addresses_that_callbacks_cannot_go_to(url: str) -> None:
    with pytest.raises(ValueError, match="must"):
        CALLBACK_URL.check(url)
