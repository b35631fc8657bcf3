import pytest

from sluice.wire.id3 import tag_bytes, timestamp_us

OWNER = b"com.apple.streaming.transportStreamTimestamp\0"


def synchsafe(value: int) -> bytes:
    return bytes((value >> shift) & 0x7F for shift in (21, 14, 7, 0))


def tag(*frames: tuple[bytes, bytes], version: int = 4, flags: int = 0, extended: bytes = b"") -> bytes:
    size = synchsafe if version == 4 else lambda value: value.to_bytes(4, "big")
    body = extended + b"".join(name + size(len(data)) + b"\0\0" + data for name, data in frames)
    return b"ID3" + bytes((version, 0, flags)) + synchsafe(len(body)) + body


def priv(ticks: int) -> tuple[bytes, bytes]:
    return b"PRIV", OWNER + ticks.to_bytes(8, "big")


@pytest.mark.parametrize("version", [3, 4])
def test_the_time_of_packed_audio(version: int) -> None:
    found = tag((b"TXXX", b"x" * 200), priv(126_000), version=version)
    assert tag_bytes(found + b"frames") == len(found)
    assert timestamp_us(found) == 1_400_000


def test_only_33_bits_count() -> None:
    assert timestamp_us(tag(priv((1 << 33) + 90_000))) == 1_000_000


def test_an_extended_header_is_passed_over() -> None:
    assert timestamp_us(tag(priv(90_000), flags=0x40, extended=synchsafe(6) + b"\1\0")) == 1_000_000


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"ID3",
        b"\xff\xf1frames",
        tag((b"TIT2", b"title")),
        tag((b"PRIV", OWNER + b"\0\0")),
        tag(priv(1))[:40],
    ],
)
def test_what_tells_no_time(data: bytes) -> None:
    assert timestamp_us(data) is None
