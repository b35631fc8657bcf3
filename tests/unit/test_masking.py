"""What logs may show of an address."""

import pytest

from sluice.core.masking import mask_url


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("https://cdn.example/a/b.m3u8?x=1", "https://cdn.example/a/b.m3u8?x=1"),
        ("https://u:p@cdn.example:8443/a", "https://u:***@cdn.example:8443/a"),
        ("https://u:p@q@cdn.example/a", "https://u:***@cdn.example/a"),
        ("https://secret@cdn.example/a", "https://***@cdn.example/a"),
        ("http://h/a?token=T&x=1&wsSecret=S&wsTime=2", "http://h/a?token=***&x=1&wsSecret=***&wsTime=2"),
        ("http://h/a?auth_key=1-2-3&X-Amz-Signature=s", "http://h/a?auth_key=***&X-Amz-Signature=***"),
        ("http://h/a?to%6Ben=T&Key-Pair-Id=K&pwd=P", "http://h/a?to%6Ben=***&Key-Pair-Id=***&pwd=***"),
        ("http://h/a#access_token=T", "http://h/a#access_token=***"),
        ("rtmp://h/live/stream-key", "rtmp://h/live/st***"),
        ("rtmp://h/live/key?sign=S&x=1", "rtmp://h/live/ke***?sign=***&x=1"),
        ("rtmps://h:1936/app/instance/key", "rtmps://h:1936/app/instance/ke***"),
        ("rtmp://h/live", "rtmp://h/live"),
        ("rtmp://h/live?vhost=x/stream", "rtmp://h/live?vhost=x/st***"),
        ("rtmp://h/live?token=T/stream?sign=S", "rtmp://h/live?token=***/st***?sign=***"),
        ("rtmp://h/live/key?sign=a/b", "rtmp://h/live/ke***?sign=***/b***"),
        ("rtmp://u:p@h/live", "rtmp://u:***@h/live"),
        ("http:\\\\u:p@h\\x?token=T", "http:\\\\u:***@h\\x?token=***"),
        ("http:/u:p@h", "http:/u:***@h"),
        ("HTTP:u:p@h", "HTTP:u:***@h"),
        ("http://h/歌 曲?name=音 乐&token=秘 密", "http://h/歌 曲?name=音 乐&token=***"),
        ("a/b?token=1", "a/b?token=***"),
        ("rtmp://h/live/", "rtmp://h/live/"),
        ("http://[::1/a?token=T", "***"),
        ("", ""),
    ],
)
def test_mask(url: str, masked: str) -> None:
    assert mask_url(url) == masked
