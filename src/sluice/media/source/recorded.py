"""Whether an answer is a recording or endless, by what the server and the format say.

It is a recording if it has a length, a validator (RFC 9110 8.8: of something that is stored), or a format
that tells its own length. A radio station names itself. Only where nothing tells, the pace of the media
decides: a live source cannot send what does not exist yet, so behind what it had stored it keeps pace with
the clock.
"""

import re
import time
from itertools import pairwise
from typing import Protocol

from sluice.media.packets import Packet
from sluice.media.source.containers import Container

#: Headers of stations (SHOUTcast, Icecast and their like).
_STATION = ("icy-name", "icy-br", "icy-genre", "icy-url", "icy-pub", "icy-metaint", "ice-audio-info")
_STATION_SERVER = re.compile(r"icecast|shoutcast|liquidsoap", re.IGNORECASE)
_STORED = ("etag", "last-modified")

#: The measurement has `_PARTS` parts of `_PART_S`. In the first one a live source may send what it had
#: stored; in each of the others, only a recording brings as much as `_PART_US`.
_PART_S, _PARTS, _PART_US = 0.5, 3, 1_500_000
#: No live source stores as much for new players: then the measurement is over at once.
_STORE_US, _STORE_BYTES = 15_000_000, 1 << 20


class Answer(Protocol):
    """What is asked of an HTTP answer; `size` in bytes."""

    @property
    def size(self) -> int | None: ...

    def seekable(self) -> bool: ...

    def header(self, name: str) -> str: ...


def is_station(answer: Answer) -> bool:
    """Whether the server is an internet radio station. Its Content-Length does not count, since some stations
    send a huge one; but an answer that honours Range is a file, whatever its other headers say."""
    if answer.seekable():
        return False
    named = any(answer.header(name) for name in _STATION)
    return named or (answer.size is None and bool(_STATION_SERVER.search(answer.header("server"))))


def is_stored(answer: Answer, head: bytes) -> bool:
    """Whether an answer that is no station's is a recording by its headers or format. `head`: first bytes."""
    return answer.size is not None or any(map(answer.header, _STORED)) or tells_length(head)


# --- formats ------------------------------------------------------------------------------------------------

#: Above this are the placeholders of encoders that cannot go back to fill in the size.
_WAV_LARGEST = 0x7FFF0000
_EBML_DURATION = re.compile(rb"\x44\x89(?:\x84(.{4})|\x88(.{8}))", re.DOTALL)
_FLAC_SAMPLES = slice(21, 26)  #: of which the last 36 bits count (RFC 9639 8.2)


def tells_length(head: bytes) -> bool:
    """Whether the container says how long it is. FLV and MP3 do not count: servers that send files as a live
    stream pass on the files' headers."""
    if head.startswith(b"RIFF"):
        return 0 < int.from_bytes(head[4:8], "little") < _WAV_LARGEST
    if head.startswith(b"fLaC"):
        return int.from_bytes(head[_FLAC_SAMPLES], "big") & 0xFFFFFFFFF > 0
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return _EBML_DURATION.search(head) is not None
    if head[4:8] in (b"ftyp", b"moov"):
        return _mp4_duration(head) > 0
    return False


def _mp4_duration(head: bytes) -> int:
    """The duration in the movie header, the first box of moov (ISO/IEC 14496-12 8.2.2); 0 where fragments
    follow."""
    at = head.find(b"moov")
    header = head[at + 8 : at + 8 + 36] if at >= 0 and head[at + 8 : at + 12] == b"mvhd" else b""
    if len(header) < 36:
        return 0
    size = 8 if header[4] else 4  # of a time, by the version
    begin = 8 + 2 * size + 4
    duration = int.from_bytes(header[begin : begin + size], "big")
    return 0 if duration == (1 << 8 * size) - 1 else duration


# --- arrival ------------------------------------------------------------------------------------------------


def comes_as_stored(demuxer: Container) -> tuple[bool, int]:
    """Whether media comes faster than it plays, as a recording does, and how many microseconds of it came.

    Reads the open demuxer until that is clear, for about 1.5 s at most (and until the packet that is due
    then). Blocks. The packets are put back.
    """
    begun = time.monotonic()
    kept: list[Packet] = []
    size = newest_us = 0
    parts: list[int] = []  #: media that had come by the end of each part
    stored: bool | None = None
    while stored is None:
        packet = demuxer.next()
        if packet is None:
            stored = True
            break
        while len(parts) < _PARTS and time.monotonic() - begun >= _PART_S * (len(parts) + 1):
            parts.append(newest_us)
        stored = _judge(parts)
        kept.append(packet)
        size += len(packet.data)
        newest_us = max(newest_us, packet.dts_us - kept[0].dts_us)
        if newest_us >= _STORE_US and size >= _STORE_BYTES:
            stored = True
    demuxer.put_back(kept)
    return stored, newest_us


def _judge(parts: list[int]) -> bool | None:
    if any(later - earlier < _PART_US for earlier, later in pairwise(parts)):
        return False
    return True if len(parts) == _PARTS else None
