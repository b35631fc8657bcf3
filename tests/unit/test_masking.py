"""What logs and documents may show of an address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.limits import MOST_SHOWN_URL_CHARS
from sluice.core.masking import is_secret_header, mask_text, mask_url


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("https://cdn.example/a/b.m3u8?quality=low", "https://cdn.example/a/b.m3u8?quality=low"),
        ("https://u:p@cdn.example:8443/a", "https://***@cdn.example:8443/a"),
        ("https://u:p@q@cdn.example/a", "https://***@cdn.example/a"),
        ("https://secret@cdn.example/a", "https://***@cdn.example/a"),
        ("http://h/a?token=T&x=1&wsSecret=S&seq=2", "http://h/a?token=***&x=***&wsSecret=***&seq=2"),
        ("http://h/a?pass=P&id=7&q=rose&u=anna", "http://h/a?pass=***&id=***&q=***&u=***"),
        ("http://h/a?Policy=eyJ&Key-Pair-Id=K&se=2030", "http://h/a?Policy=***&Key-Pair-Id=***&se=***"),
        ("http://h/a?to%6Ben=T;sid=S&a=b=c", "http://h/a?to%6Ben=***;sid=***&a=***"),
        ("http://h/a?opensesame", "http://h/a?***"),
        ("http://h/a?width=720&height=&lang=en", "http://h/a?width=720&height=&lang=en"),
        ("http://h/a?width=seven&lang=a/b&type=x9Kq2mP7", "http://h/a?width=***&lang=***&type=***"),
        ("http://h/a?3f2504e04f8911d39a0c=1", "http://h/a?***"),
        ("http://h/a#access_token=T", "http://h/a#***"),
        ("http://h/a;token=T;v/b.ts;jsessionid=S?x", "http://h/a;token=***;***/b.ts;jsessionid=***?***"),
        ("http://h/hdntl=exp=1~hmac=ab/a.ts", "http://h/hdntl=***/a.ts"),
        ("https://h/s/3f2504e0-4f89-11d3-9a0c-0305e82c3301/a", "https://h/s/3f***/a"),
        ("https://h/api/webhooks/118/dGhpc2lzYXNlY3JldA", "https://h/api/webhooks/118/dG***"),
        ("https://h/bot110201543:AAHdqTcvCH1vGWJxfSe/sendAudio", "https://h/bo***/sendAudio"),
        ("http://h/BigBuckBunny_1080p60fps_surround51.mp4", "http://h/BigBuckBunny_1080p60fps_surround51.mp4"),
        ("http://h/seg-00000123-20261130T120000.ts", "http://h/seg-00000123-20261130T120000.ts"),
        ("http://h/%E5%A4%9C%E6%9B%B2.mp3", "http://h/%E5%A4%9C%E6%9B%B2.mp3"),
        ("rtmp://h/live/stream-key", "rtmp://h/live/st***"),
        ("rtmp://h/live/key?sign=S&rate=1", "rtmp://h/live/ke***?sign=***&rate=1"),
        ("rtmps://h:1936/app/instance/key", "rtmps://h:1936/app/in***"),
        ("rtmp://h/live", "rtmp://h/live"),
        ("rtmp://h/live?vhost=h/stream", "rtmp://h/live?vhost=***"),
        ("rtmp://h/live?token=T/stream?sign=S", "rtmp://h/live?token=***?sign=***"),
        ("rtmp://h//live//key", "rtmp://h//live//ke***"),
        ("rtmp://h/live playpath=key", "rtmp://h/live pl***"),
        ("rtmp://h/live/key#part", "rtmp://h/live/ke***#***"),
        ("rtmp://h/x9Kq2mP7vW4z", "rtmp://h/x9***"),
        ("rtmp://u:p@h/live", "rtmp://***@h/live"),
        ("srt://h:9000?streamid=publish:cam&passphrase=P&mode=caller",
         "srt://h:9000?streamid=***&passphrase=***&mode=***"),
        ("http:\\\\u:p@h\\x?token=T", "http:\\\\***@h\\x?token=***"),
        ("http:/u:p@h", "http:/***@h"),
        ("HTTP:u:p@h", "HTTP:***@h"),
        ("http://h/歌 曲?name=音 乐&token=秘 密", "http://h/歌 曲?name=***&token=***"),
        ("a/b?token=1", "a/b?token=***"),
        ("rtmp://h/live/", "rtmp://h/live/"),
        ("http://[::1/a?token=T", "http://[::1/a?token=***"),
        ("data:audio/mp3;base64,AAAA", "data:***"),
        ("http://h/a\nb\x1b[0m\ud800", "http://h/a\ufffdb\ufffd[0m\ufffd"),
        ("", ""),
    ],
)  # fmt: skip
def test_mask(url: str, masked: str) -> None:
    assert mask_url(url) == masked
    assert mask_url(masked) == masked


def test_long_addresses_are_cut() -> None:
    assert len(mask_url("http://h/" + "word/" * 10_000)) == MOST_SHOWN_URL_CHARS + 1


@given(st.text(max_size=30), st.sampled_from(["http", "https", "rtmp", "srt"]))
def test_secrets_by_place(name: str, scheme: str) -> None:
    """Whatever a parameter is called, and whatever stands around it."""
    for url in (
        f"{scheme}://h/a?{name}=HUNTERSECRET",
        f"{scheme}://HUNTERSECRET:{name}@h/a",
        f"{scheme}://h/a/b;{name}=HUNTERSECRET",
        f"{scheme}://h/a?HUNTERSECRET;{name}",
        f"{scheme}://h/a#HUNTERSECRET{name}",
        f"rtmp://h/app/{name}/HUNTERSECRET" if name else "",
    ):
        masked = mask_url(url)
        if not set("/\\?#=; ") & set(name) and masked:
            assert "HUNTERSECRET" not in masked
        assert masked.isprintable()


def test_addresses_in_texts() -> None:
    text = "cannot open 'https://u:p@h/a?sig=S' (from rtmp://h/live/key): see <http://[::1]:80/x?y=z>."
    assert mask_text(text) == (
        "cannot open 'https://***@h/a?sig=***' (from rtmp://h/live/ke***): see <http://[::1]:80/x?y=***>."
    )
    assert mask_text("a text: of nothing") == "a text: of nothing"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("'https://u:p)w@h/a'", "'https://***@h/a'"),
        ("(rtmp://u:p'w@h/app)", "(rtmp://***@h/app)"),
        ("'https://h/a?t=12|secret' fails", "'https://h/a?t=***' fails"),
        ("(https://h/a?t=se)cr'et).", "(https://h/a?t=***)."),
        ("https://h/a?t=s, https://u:p@h/b?", "https://h/a?t=***, https://***@h/b?"),
        ("'https://h/a?t=s','https://u:p@h/b'", "'https://h/a?t=***'"),
    ],
)
def test_secrets_with_what_ends_an_address(text: str, masked: str) -> None:
    assert mask_text(text) == masked
    assert mask_text(masked) == masked


def test_headers() -> None:
    for name in ("Authorization", "X-Anything", "cookie", "Sesame"):
        assert is_secret_header(name)
    for name in ("Referer", "Accept", "accept-language", "Origin"):
        assert not is_secret_header(name)
