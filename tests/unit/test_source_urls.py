"""Addresses that callers may give."""

import pytest

from sluice.core.sources import check_source_url, host_of


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
    assert check_source_url(url) == url


@pytest.mark.parametrize("character", ["\r", "\n", "\t", "\0", "\x7f", "\x85", "\u2028", "\ud800"])
def test_control_characters(character: str) -> None:
    for url in (
        f"http://h/a{character}b",
        f"http://h{character}/",
        f"rtmp://h/a/{character}",
        f"{character}http://h",
    ):
        with pytest.raises(ValueError, match="control characters"):
            check_source_url(url)


@pytest.mark.parametrize(
    "url",
    ["", "h/a", "http://", "http:// h", "http://h:0/", "http://h:x/", "rtmp:///a/b", "file:///etc/passwd"],
)
def test_unusable(url: str) -> None:
    with pytest.raises(ValueError, match="must be an address with a host"):
        check_source_url(url)


def test_too_long() -> None:
    with pytest.raises(ValueError, match="4096"):
        check_source_url("http://h/" + "x" * 4096)


def test_host() -> None:
    assert host_of("http:\\\\127.0.0.1\\x@y") == "127.0.0.1"
    assert host_of("rtmp://u:p@[::1]/a") == "::1"
