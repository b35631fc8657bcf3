"""RTMP addresses: how they are taken apart, and where redirects lead.

The table is what ffmpeg 5.1 sends for each form, both to play and to publish; an integration test asks again.
"""

import pytest

from sluice.wire.rtmp_url import RtmpUrl

#: Address without its scheme, app, stream.
FORMS = [
    ("h:19/live/key", "live", "key"),
    ("h:19/live?vhost=x/stream", "live?vhost=x", "stream"),
    ("h:19/live/key?sign=a&b=c", "live", "key?sign=a&b=c"),
    ("h:19/live/key?sign=a/b", "live/key?sign=a", "b"),
    ("h:19/app/inst/stream", "app/inst", "stream"),
    ("h:19/app/inst/dir/stream", "app/inst", "dir/stream"),
    ("h:19/a/b/c/d/e", "a/b", "c/d/e"),
    ("h:19/app/mp4:dir/name", "app", "mp4:dir/name"),
    ("h:19/app/inst/mp4:dir/name.mp4", "app/inst", "mp4:dir/name.mp4"),
    ("h:19/app/name.mp4", "app", "mp4:name.mp4"),
    ("h:19/app/name.f4v", "app", "mp4:name.f4v"),
    ("h:19/app/name.flv", "app", "name"),
    ("h:19/app/flv:name.flv", "app", "flv:name"),
    ("h:19/app/mp3:name", "app", "mp3:name"),
    ("h:19/app/name.mp4?x=1", "app", "name.mp4?x=1"),
    ("h:19/app?slist=dir/name", "app?slist=dir/name", "dir/name"),
    ("h:19/app/inst?slist=name&auth=1", "app/inst?slist=name&auth=1", "name"),
    ("h:19/app?auth=1&slist=mp4:a", "app?auth=1&slist=mp4:a", "mp4:a"),
    ("h:19/ondemand/dir/name", "ondemand", "dir/name"),
    ("h:19/ondemand", "ondemand", ""),
    ("h:19/app", "app", ""),
    ("h:19/app/", "app", ""),
    ("h:19/app/stream/", "app/stream", ""),
    ("h:19/app//stream", "app/", "stream"),
    ("h:19//app/stream", "/app", "stream"),
    ("h:19?x=1", "x=1", ""),
    ("h:19/app?x=1", "app?x=1", ""),
    ("h:19/app/?x=1", "app", "?x=1"),
    ("[::1]:19/app/stream", "app", "stream"),
    ("u:p@h:19/app/stream", "app", "stream"),
    ("u:p%40@h:19/app/stream", "app", "stream"),
    ("h:19/app/stream#frag", "app", "stream#frag"),
    ("h:19/app/歌", "app", "歌"),
    ("h:19/app/a%20b", "app", "a%20b"),
    ("h:19/app/stream live=1", "app", "stream"),
    ("h:19/App/Stream", "App", "Stream"),
    ("h:19/app?a=1/stream?b=2", "app?a=1", "stream?b=2"),
    ("h:19/app/inst?a=1/stream", "app/inst?a=1", "stream"),
    ("h:19/app/inst?a=1/dir/stream", "app/inst?a=1", "dir/stream"),
    ("h:19/app/key?x=a:b/c", "app", "key?x=a:b/c"),
    ("h:19/app/.flv", "app", ""),
    ("h:19/app/x.FLV", "app", "x.FLV"),
    ("h:19/app/?a=1/b", "app/?a=1", "b"),
    ("h:19/a:b/c/d", "a:b/c", "d"),
]


@pytest.mark.parametrize(("address", "app", "stream"), FORMS)
def test_forms(address: str, app: str, stream: str) -> None:
    url = RtmpUrl.parse(f"rtmp://{address}")
    assert (url.app, url.stream) == (app, stream)
    host = "[::1]" if "[" in address else "h"
    assert url.tc_url == f"rtmp://{host}:19/{app}"


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "tc_url"),
    [
        ("rtmp://h/app/key", "h", 1935, False, "rtmp://h:1935/app"),
        ("rtmps://h/app/key", "h", 443, True, "rtmps://h:443/app"),
        ("rtmps://h:8443/app/key#2", "h", 8443, True, "rtmps://h:8443/app"),
        (" RTMP://H/app/key ", "h", 1935, False, "rtmp://h:1935/app"),
        ("rtmp://h\r\n/a\tpp/key", "h", 1935, False, "rtmp://h:1935/app"),
    ],
)
def test_servers(url: str, host: str, port: int, tls: bool, tc_url: str) -> None:
    parsed = RtmpUrl.parse(url)
    assert (parsed.host, parsed.port, parsed.tls, parsed.tc_url) == (host, port, tls, tc_url)


def test_credentials() -> None:
    url = RtmpUrl.parse("rtmp://us%40er:p@ss@h/app/key")
    assert (url.user, url.password) == ("us@er", "p@ss")
    assert "ss" not in url.tc_url


@pytest.mark.parametrize(
    "url",
    [
        "rtmp://h", "rtmp://h/", "rtmp://h//", "rtmp:///a/k", "http://h/a/k", "rtmp://h:x/a/k",
        "rtmp://[h/a/k", "rtmp://h:0/a/k", "rtmp:a/b",
    ],
)  # fmt: skip
def test_addresses_that_name_nothing(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        RtmpUrl.parse(url)


def test_words_of_a_server() -> None:
    url = RtmpUrl.parse("rtmp://anna:p%40ss@h/live?sign=app-secret/cam-key?auth=stream-secret&t=99")
    for echoed in ("app-secret", "stream-secret", "cam-key", "p@ss", "p%40ss", "anna"):
        said = url.without_secrets(f"no {echoed} in rtmp://h/live/{echoed} here")
        assert said.startswith("no ***") or echoed == "p%40ss"
        assert "secret" not in said
        assert "rtmp://h/live/" in said


@pytest.mark.parametrize(
    ("redirect", "tc_url", "user"),
    [
        ("rtmp://g:99/live", "rtmp://g:99/live", ""),
        ("rtmp://g/other/key", "rtmp://g:1935/other", ""),
        ("rtmp://g/other/key?y=2", "rtmp://g:1935/other", ""),
        ("rtmps://g/app/instance", "rtmps://g:443/app/instance", ""),
        ("rtmp://g/live?vhost=x", "rtmp://g:1935/live?vhost=x", ""),
        ("rtmp://h/other", "rtmp://h:1935/other", "u"),
        ("rtmps://h/other", "rtmps://h:443/other", ""),
        ("rtmp://h:99/other", "rtmp://h:99/other", ""),
        ("rtmp://x:y@g/live", "rtmp://g:1935/live", "x"),
    ],
)
def test_redirects(redirect: str, tc_url: str, user: str) -> None:
    url = RtmpUrl.parse("rtmp://u:p@h/live/key?x=1").redirected(redirect)
    assert (url.tc_url, url.stream, url.user) == (tc_url, "key?x=1", user)


@pytest.mark.parametrize("redirect", ["http://h/live", "h", "rtmp://", ""])
def test_redirects_to_nowhere(redirect: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        RtmpUrl.parse("rtmp://h/live/key").redirected(redirect)
