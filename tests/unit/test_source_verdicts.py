"""Whether an answer is a recording or goes on for ever: what servers and formats say, and how media comes."""

import struct
from collections.abc import Iterator
from typing import cast

import pytest

from sluice.media.packets import Packet, TrackKind
from sluice.media.source.demuxer import Demuxer
from sluice.media.source.recorded import comes_as_stored, is_station, is_stored, tells_length

_MP3 = b"\xff\xfb\x90\x64" + bytes(400)


class Answer:
    def __init__(self, size: int | None = None, ranges: bool = False, **headers: str) -> None:
        self.size, self._ranges = size, ranges
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def seekable(self) -> bool:
        return self._ranges

    def header(self, name: str) -> str:
        return self._headers.get(name, "")


@pytest.mark.parametrize(
    ("answer", "station"),
    [
        (Answer(icy_name="Radio"), True),
        (Answer(icy_br="24"), True),
        (Answer(server="Icecast 2.4.4"), True),
        (Answer(2**31 - 1, icy_name="Radio"), True),  # a length that no stream reaches
        (Answer(1000, ranges=True, icy_name="Radio"), False),
        (Answer(1000, server="Icecast 2.4.4"), False),  # its own files
        (Answer(server="nginx"), False),
        (Answer(), False),
    ],
)
def test_stations_name_themselves(answer: Answer, station: bool) -> None:
    assert is_station(answer) == station


@pytest.mark.parametrize(
    ("answer", "stored"),
    [
        (Answer(1000), True),
        (Answer(0), True),
        (Answer(etag='"x"'), True),
        (Answer(last_modified="Mon, 30 Nov 2026 10:00:00 GMT"), True),
        (Answer(content_type="audio/mpeg"), False),
        (Answer(), False),
    ],
)
def test_servers_say_what_they_have_in_store(answer: Answer, stored: bool) -> None:
    assert is_stored(answer, _MP3) == stored


def _mp4(duration: int, version: int = 0) -> bytes:
    times = struct.pack(">QQIQ" if version else ">IIII", 0, 0, 1000, duration)
    mvhd = bytes([0, 0, 0, 108]) + b"mvhd" + bytes([version, 0, 0, 0]) + times + bytes(80)
    return b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + struct.pack(">I", 8 + len(mvhd)) + b"moov" + mvhd


@pytest.mark.parametrize(
    ("head", "tells"),
    [
        (b"FLV\x01\x05\0\0\0\x09\0\0\0\0\x12onMetaData\0\x08duration\0\x40\x24" + bytes(6), False),
        (b"RIFF\x24\x10\0\0WAVEfmt ", True),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", False),
        (b"RIFF\x24\xf0\xff\x7fWAVEfmt ", False),
        (b"fLaC\0\0\0\x22" + bytes(13) + b"\xf0\0\0\0\1" + bytes(16), True),
        (b"fLaC\0\0\0\x22" + bytes(13) + b"\xf0\0\0\0\0" + bytes(16), False),
        (b"\x1a\x45\xdf\xa3" + bytes(40) + b"\x44\x89\x88" + struct.pack(">d", 5000.0), True),
        (b"\x1a\x45\xdf\xa3" + bytes(40), False),
        (_mp4(5000), True),
        (_mp4(5000, 1), True),
        (_mp4(0), False),
        (_mp4(2**32 - 1), False),
        (_mp4(2**64 - 1, 1), False),
        (b"\0\0\0\x18ftypisom", False),
        (b"ID3\x04\0\0\0\0\0\0", False),  # a station may play files one behind the other
        (_MP3[:36] + b"Xing" + bytes(100), False),
        (_MP3, False),
        (b"\xff\xf1\x50\x80" + bytes(100), False),
        (b"G@\x11\x10" + b"Info TV" + bytes(200), False),  # the name of a program
        (b"OggS\0\2" + bytes(100), False),
        (b"", False),
    ],
)
def test_formats_tell_their_length(head: bytes, tells: bool) -> None:
    assert tells_length(head) == tells
    for size in range(0, len(head), 7):
        tells_length(head[:size])


class Arriving:
    """A demuxer whose packets of 100 ms come at given times."""

    def __init__(self, times_s: Iterator[float], packet_bytes: int) -> None:
        self._times_s, self._data = times_s, bytes(packet_bytes)
        self.now_s, self._number = 100.0, 0
        self.back: list[Packet] = []

    def next(self) -> Packet | None:
        at_s = next(self._times_s, None)
        if at_s is None:
            return None
        self.now_s = max(self.now_s, 100.0 + at_s)
        at_us = self._number * 100_000
        self._number += 1
        return Packet(TrackKind.AUDIO, self._data, at_us, at_us, True)

    def put_back(self, packets: list[Packet]) -> None:
        self.back = packets


def _live(store_s: float, chunk_s: float = 0.1) -> Iterator[float]:
    """What it has in store at once, and then chunks as they come into being."""
    for n in range(10_000):
        late_s = n / 10 - store_s
        yield 0.0 if late_s < 0 else late_s // chunk_s * chunk_s + chunk_s


@pytest.mark.parametrize(
    ("times_s", "packet_bytes", "stored"),
    [
        (_live(0), 300, False),
        (_live(21), 300, False),  # 64 kB of 24 kbit/s
        (_live(64), 100, False),
        (_live(5), 25_000, False),  # a GOP that is kept
        (_live(3, chunk_s=2), 300, False),
        (_live(0, chunk_s=2), 25_000, False),
        (iter([0.0] * 100), 300, True),  # it ends
        (iter([0.0] * 20_000), 300, True),
        (iter([0.0] * 20_000), 25_000, True),
        ((n / 100 for n in range(20_000)), 300, True),  # ten times as fast as it plays
        ((n / 40 for n in range(20_000)), 300, True),
        ((n / 11 for n in range(20_000)), 300, False),  # a server that keeps pace
    ],
)
def test_a_live_source_cannot_send_what_does_not_exist_yet(
    times_s: Iterator[float], packet_bytes: int, stored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    arriving = Arriving(times_s, packet_bytes)
    monkeypatch.setattr("sluice.media.source.recorded.time.monotonic", lambda: arriving.now_s)
    found, came_us = comes_as_stored(cast(Demuxer, arriving))
    assert found == stored
    assert arriving.now_s <= 104, "and it does not take long to tell"
    assert [packet.dts_us for packet in arriving.back] == [n * 100_000 for n in range(len(arriving.back))]
    assert came_us == arriving.back[-1].dts_us
    assert len(arriving.back) * packet_bytes < 8 << 20
