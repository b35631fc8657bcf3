"""FLV over our own byte files: a file, or a live stream over HTTP. Its tags are those of RTMP.

Source: Adobe "Video File Format Specification" 10.1, annex E. Everything blocks and runs on a worker thread.
FFmpeg's demuxer is not used, because it knows only the tracks that came at the beginning.
"""

import io
import re
import time
from collections import deque

from sluice.core.errors import SourceError, unsupported
from sluice.core.lifecycle import Reason
from sluice.core.limits import (
    LONGEST_FLV_HEADER,
    MOST_BARREN_BYTES,
    MOST_SCRIPT_BYTES,
)
from sluice.core.plan import Probe
from sluice.core.source_facts import container_title
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.demuxer import WAIT_LIVE_S, WAIT_LIVE_US, Damaged
from sluice.media.source.flv_tracks import FlvTracks
from sluice.media.source.notes import Notes
from sluice.media.source.rates import PacketRates
from sluice.media.source.sniff import ByteFile, read_up_to
from sluice.media.source.timeline import Timeline
from sluice.wire.amf0 import Amf0Error, decode
from sluice.wire.rtmp import AudioMessage, DataMessage, VideoMessage

SIGNATURE = b"FLV"
_HEADER, _TAG_HEADER, _SIZE_BEHIND = 9, 11, 4
_AUDIO, _VIDEO, _SCRIPT = 8, 9, 18
_FILTERED = 0x20  #: flag of an encrypted tag (E.4.1)
#: Searching for a position: the head of an audio or video tag of stream 0; how near is near enough, and how
#: much is read to find a tag.
_TAG = re.compile(rb"[\x08\x09].{7}\0\0\0", re.DOTALL)
_NEAR_BYTES, _SEARCHED_BYTES = 64 * 1024, 1 << 20
#: How far before a position its key frame is looked for.
_SEEK_BACK_US = (0, 2_000_000, 6_000_000, 20_000_000)
#: Frames that are read before the tracks are described: those behind the first may show B-frames.
_LOOK_AHEAD = 4
#: How long a sequence header is waited for: some servers send it again with each key frame.
_MOST_LACKING_S = 20.0


class FlvDemuxer:
    """Used like Demuxer: `open`, then `next` until it returns None."""

    container = container_title("flv")

    def __init__(
        self, file: ByteFile, *, live: bool = False, kinds: frozenset[TrackKind] | None = None
    ) -> None:
        self._file, self._live = file, live
        self._kinds = kinds or frozenset(TrackKind)
        self.notes = Notes()
        self._tracks = FlvTracks(self.notes)
        self._timeline = Timeline()
        self._ahead: deque[Packet] = deque()
        self.first_us = 0
        self._data_at = 0  #: where the tags begin
        self._known: set[TrackKind] = set()  #: kinds that it began with
        self._rates = PacketRates()
        self._barren = 0  #: bytes since the last packet

    def open(self) -> Probe:
        """Raises SourceError."""
        header = self._take(_HEADER)
        if not header.startswith(SIGNATURE):
            raise unsupported("the source is no FLV")
        self._data_at = int.from_bytes(header[5:9], "big") + _SIZE_BEHIND
        if self._data_at > LONGEST_FLV_HEADER:
            raise unsupported(f"the FLV claims a header of more than {LONGEST_FLV_HEADER >> 10} KiB")
        self._take(self._data_at - _HEADER)
        self._look_ahead()
        probe = self._tracks.probe()
        if not self._ahead:
            raise self._nothing()
        first = {packet.kind: packet.pts_us for packet in reversed(self._ahead)}
        self._known = set(first)
        self.first_us = first.get(TrackKind.VIDEO, next(iter(first.values())))
        return Probe(
            probe.video if TrackKind.VIDEO in self._kinds else None,
            probe.audio if TrackKind.AUDIO in self._kinds else None,
            live=self._live,
            seekable=self._file.seekable(),
            duration_us=self._tracks.duration_us if not self._live else None,
            complete=False,
        )

    def _nothing(self) -> SourceError:
        text, lacking = "the source has no media that can be decoded", self._tracks.lacking()
        text += f": {lacking}" if lacking else ""
        return SourceError(Reason.SOURCE_UNSUPPORTED, text, transient=self._live)

    def next(self) -> Packet | None:
        """Raises SourceError. None at the end, and from then on."""
        while not self._ahead:
            if not self._read_tag():
                return None
        return self._ahead.popleft()

    @property
    def ahead(self) -> int:
        """How many packets `next` returns without reading."""
        return len(self._ahead)

    def put_back(self, packets: list[Packet]) -> None:
        """`next` returns them again, in this order."""
        self._ahead.extendleft(reversed(packets))

    def seek(self, at_us: int) -> None:
        """Goes to the key frame at or before `at_us`, if one is found; else to the beginning."""
        self._tracks.restart()
        if self._tracks.index:
            before = [int(position) for seconds, position in self._tracks.index if seconds * 1e6 <= at_us]
            self._jump(before[-1] if before else self._data_at)
            return
        for back_us in _SEEK_BACK_US:
            self._jump(self._position_of(at_us - back_us))
            if self._begins_at_key(at_us):
                return
        self._jump(self._data_at)

    def close(self) -> None:
        self._ahead.clear()

    # --- positions ----------------------------------------------------------------------------------------

    def _jump(self, position: int) -> None:
        self._ahead.clear()
        self._tracks.restart()
        self._timeline, self._rates = Timeline(), PacketRates()
        self._file.seek(position)

    def _position_of(self, at_us: int) -> int:
        """The position of a tag at this time or a little before. There is no index to use, but tags can be
        found, since each has its size in front and behind."""
        low, high = self._data_at, self._file.seek(0, io.SEEK_END)
        while high - low > _NEAR_BYTES:
            middle = (low + high) // 2
            found = self._tag_behind(middle)
            if found is None or found[0] >= high or found[1] > at_us:
                high = middle
            else:
                low = found[0]
        return low

    def _tag_behind(self, position: int) -> tuple[int, int] | None:
        """Where the first tag behind `position` begins, and its time (us); None where none is near."""
        self._file.seek(position)
        data = self._take(_SEARCHED_BYTES)
        for match in _TAG.finditer(data):
            begin, size = match.start(), int.from_bytes(match[0][1:4], "big")
            end = begin + _TAG_HEADER + size
            behind = data[end : end + _SIZE_BEHIND]
            if int.from_bytes(behind, "big") == _TAG_HEADER + size:
                return position + begin, _time_ms(match[0]) * 1000
        return None

    def _begins_at_key(self, at_us: int) -> bool:
        """Drops packets before the first key frame; False when that comes after `at_us`."""
        if TrackKind.VIDEO not in self._known:
            return True
        while (packet := self.next()) is not None and packet.dts_us <= at_us:
            if packet.kind is TrackKind.VIDEO:
                self.put_back([packet])
                return True
        return False

    def _look_ahead(self) -> None:
        """Reads until the announced tracks have begun, or were waited for long enough."""
        begun_s = time.monotonic()
        until_s = begun_s + WAIT_LIVE_S
        while self._read_tag():
            if not self._ahead:
                if self._tracks.lacking() and time.monotonic() - begun_s > _MOST_LACKING_S:
                    break
                continue
            begun = self._tracks.begun & self._kinds
            wanted = (self._tracks.announced or frozenset(TrackKind)) & self._kinds
            span_us = self._ahead[-1].dts_us - self._ahead[0].dts_us
            if wanted <= begun and len(self._ahead) >= _LOOK_AHEAD:
                break
            if span_us > WAIT_LIVE_US or time.monotonic() > until_s:
                break

    def _read_tag(self) -> bool:
        """False at the end of the file; a tag that is cut off there does not count."""
        header = self._take(_TAG_HEADER)
        size = int.from_bytes(header[1:4], "big")
        body = self._take(size + _SIZE_BEHIND) if len(header) == _TAG_HEADER else b""
        if len(body) < size or len(header) < _TAG_HEADER:
            return False
        kind, body = header[0], body[:size]
        if kind & _FILTERED:
            raise unsupported("the source is encrypted (DRM), and there is no key for it")
        time_ms = _time_ms(header)
        if kind == _AUDIO:
            if TrackKind.AUDIO in self._kinds:
                self._tracks.on_media(AudioMessage(time_ms, body))
        elif kind == _VIDEO:
            if TrackKind.VIDEO in self._kinds:
                self._tracks.on_media(VideoMessage(time_ms, body))
        elif kind == _SCRIPT:
            if size <= MOST_SCRIPT_BYTES:
                self._take_script(body)
        else:
            raise Damaged("the source cannot be read on: what should be an FLV tag is none")
        self._barren += size + _TAG_HEADER
        for packet in self._tracks.take():
            self._timeline.place(packet)
            self._rates.check([packet])
            self._ahead.append(packet)
            self._barren = 0
        if self._barren > MOST_BARREN_BYTES:
            text = f"{MOST_BARREN_BYTES >> 20} MiB of the FLV came without anything that can be played"
            raise unsupported(f"{text}: {lacking}" if (lacking := self._tracks.lacking()) else text)
        return True

    def _take_script(self, body: bytes) -> None:
        try:
            name, *values = decode(body)
        except (Amf0Error, ValueError):
            return  # it tells nothing that playing needs
        if isinstance(name, str):
            self._tracks.on_metadata(DataMessage(name, values))

    def _take(self, size: int) -> bytes:
        """`size` bytes, fewer at the end of the file."""
        return read_up_to(self._file, size)


def _time_ms(header: bytes) -> int:
    return int.from_bytes(header[4:7], "big") | header[7] << 24
