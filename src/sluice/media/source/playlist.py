"""Lists of addresses: M3U without any tag of HLS, PLS and XSPF. Each entry is played once, in order.

Each entry is opened as an address of its own when its turn comes. It continues where the one before it ended,
on one clock for all. An entry that cannot be played is left out. An endless entry, such as the only address
in the list of a radio station, is not played here but by its own source (table.py).
"""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, Protocol

from sluice.core.errors import SourceError, interrupted, unsupported
from sluice.core.limits import MOST_LIST_BYTES, MOST_LIST_ENTRIES
from sluice.core.live_edge import Edge
from sluice.core.masking import mask_url
from sluice.core.plan import Probe
from sluice.core.source_facts import Packaging
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.dash_xml import parse_xml
from sluice.media.source.hls_playlist import Part
from sluice.media.source.hls_text import Addresses
from sluice.media.source.notes import Notes
from sluice.media.source.segmented import SegmentedSource
from sluice.media.source.sniff import ByteFile, Content, read_up_to

#: Entries in a row that cannot be played.
MOST_FAILURES = 20
_PLS_FILE = re.compile(r"\s*file(\d{1,6})\s*=\s*(\S.*)", re.IGNORECASE)
_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)
_HLS_TAG = re.compile(r"^#EXT-X-", re.MULTILINE)
_LIST_TYPE, _LIST_NAME = re.compile(r"mpegurl"), re.compile(r"\.m3u8?$", re.IGNORECASE)
#: Assumed distance of packets where none is known.
_STEP_US = 20_000


# --- what a list says ---------------------------------------------------------------------------------------


def read_list(file: ByteFile) -> str:
    """The text. Raises SourceError."""
    data = read_up_to(file, MOST_LIST_BYTES + 1)
    if len(data) > MOST_LIST_BYTES:
        raise unsupported(f"the play list is longer than {MOST_LIST_BYTES >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def is_hls(text: str) -> bool:
    """RFC 8216 4.3: every HLS playlist has tags of its own; a list of files has none."""
    return _HLS_TAG.search(text) is not None


def may_be_list(head: bytes, content_type: str, url: str) -> bool:
    """Whether text without a signature may be a list, by its media type, name, or first line (an address)."""
    lines = _lines(head.decode("utf-8-sig", "replace"))
    named = _LIST_TYPE.search(content_type) or _LIST_NAME.search(url.partition("?")[0])
    return bool(lines) and (named is not None or re.match(r"(?:https?|rtmps?)://", lines[0]) is not None)


def entries_of(content: Content, text: str, base: str) -> list[str]:
    """The addresses, in order. Raises SourceError when there is none."""
    if content is Content.PLS:
        files = (match for match in map(_PLS_FILE.match, text.splitlines()) if match)
        found = [name.strip() for _, name in sorted((int(match[1]), match[2]) for match in files)]
    elif content is Content.XSPF:
        found = [(location.text or "").strip() for location in parse_xml(text).iter("location")]
    else:
        found = _lines(text)
    if not found:
        raise unsupported("the play list names nothing to play")
    addresses = Addresses(base)
    return [_address(addresses, name) for name in found[:MOST_LIST_ENTRIES]]


def left_out(number: int, url: str, failure: SourceError) -> str:
    """The note about the entry `number`, counted from 0."""
    return f"entry {number + 1} of the list, {mask_url(url)}, is left out: {failure}"


def _lines(text: str) -> list[str]:
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def _address(addresses: Addresses, name: str) -> str:
    if not _ABSOLUTE.match(name):
        name = name.replace("\\", "/")
    return addresses.of(name)


# --- playing it ---------------------------------------------------------------------------------------------


class Recording(Protocol):
    """A FileSource (table.py)."""

    @property
    def notes(self) -> Notes: ...

    @property
    def packaging(self) -> Packaging: ...

    def open(self) -> Probe: ...

    def read(self, until_us: int) -> list[Packet]: ...

    def seek(self, position_us: int) -> None: ...

    def abort(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Opener:
    """`find` returns the source of an address, not opened yet, or raises SourceError; `abort` makes it fail,
    from any thread."""

    find: Callable[[str], Recording]
    abort: Callable[[], None]


class PlaylistSource:
    """`open`, then `read` until it returns nothing. `seek` skips entries that tell their length."""

    live: Literal[False] = False

    def __init__(
        self,
        urls: Sequence[str],
        first: tuple[int, Recording],
        opener: Opener,
        failures: Mapping[int, SourceError] = MappingProxyType({}),
    ) -> None:
        """`first`: the entry to begin with, by its number; `failures`: of those before it."""
        self._urls, self._opener = urls, opener
        self._number, self._source = first
        self._probe: Probe | None = None  #: of the current entry
        self._start_us = 0  #: of the current entry
        self._ends: dict[TrackKind, tuple[int, int]] = {}  #: time and duration of its last packets
        self._joining = False  #: nothing of the current entry was read yet
        self._played = self._over = self._aborted = False
        self._lock = threading.Lock()
        self.notes = Notes()  #: what was left out, and why
        for number, failure in failures.items():
            self._leave_out(number, failure)

    @property
    def packaging(self) -> Packaging:
        """That of the current entry."""
        return replace(self._source.packaging, entries=len(self._urls))

    def open(self) -> Probe:
        """Raises SourceError."""
        try:
            self._probe = self._source.open()
        except SourceError as error:
            if not self._go_on(0, error):
                raise
        assert self._probe is not None  # noqa: S101 - it is open
        self._played = True
        if self._probe.live:
            return self._probe
        video = replace(self._probe.video, duration_us=None) if self._probe.video else None
        return replace(self._probe, video=video, duration_us=None, complete=False)

    def read(self, until_us: int) -> list[Packet]:
        """Raises SourceError when none of the entries that are left can be played at present."""
        while not self._over:
            failure: SourceError | None = None
            try:
                packets = self._source.read(until_us - self._start_us)
            except SourceError as error:
                packets, failure = [], error
            self.notes.absorb(self._source.notes)
            if packets:
                if self._joining:
                    self._join(packets)
                return [self._placed(packet) for packet in packets]
            end_us = max((last + step for last, step in self._ends.values()), default=self._start_us)
            self._over = not self._go_on(end_us, failure)
        return []

    def seek(self, position_us: int) -> None:
        self._over = False
        if position_us < self._start_us:
            self._number = -1
            if not self._go_on(0):
                raise unsupported("none of the entries of the play list can be played any more")
        while (length_us := self._length_us()) is not None and position_us >= self._start_us + length_us:
            if not self._go_on(self._start_us + length_us):
                break
        self._ends.clear()
        self._joining = False
        # An entry without a length is read from its beginning: the position may lie behind it.
        last = self._number + 1 == len(self._urls)
        self._source.seek(position_us - self._start_us if last or length_us is not None else 0)

    def edge(self) -> Edge | None:
        """The live edge of the first entry, if that is live."""
        return self._source.edge() if isinstance(self._source, SegmentedSource | PlaylistSource) else None

    def skip(self) -> bool:
        return isinstance(self._source, SegmentedSource | PlaylistSource) and self._source.skip()

    @property
    def played(self) -> Part | None:
        """The last segment that was read of a live entry; another attempt continues behind it."""
        return self._source.played if isinstance(self._source, SegmentedSource | PlaylistSource) else None

    def go_on_behind(self, part: Part) -> None:
        if isinstance(self._source, SegmentedSource | PlaylistSource):
            self._source.go_on_behind(part)

    def abort(self) -> None:
        """From any thread: whatever blocks fails at once."""
        with self._lock:
            self._aborted = True
            source = self._source
        source.abort()
        self._opener.abort()

    def close(self) -> None:
        self._source.close()

    # --- entries ------------------------------------------------------------------------------------------

    def _length_us(self) -> int | None:
        return self._probe.duration_us if self._probe else None

    def _join(self, packets: list[Packet]) -> None:
        """Audio alone begins where that of the last entry ended, whatever the delay of its encoder."""
        self._joining = False
        if all(packet.kind is TrackKind.AUDIO for packet in packets):
            self._start_us -= next((packet.pts_us for packet in packets if packet.duration_us != 0), 0)

    def _placed(self, packet: Packet) -> Packet:
        packet.shift(self._start_us)
        known = self._ends.get(packet.kind)
        if known is None and packet.track is None and self._probe is not None:
            packet.track = self._probe.video if packet.kind is TrackKind.VIDEO else self._probe.audio
        if packet.duration_us is not None:
            self._ends[packet.kind] = packet.pts_us, packet.duration_us
        else:
            step_us = packet.dts_us - known[0] if known is not None else _STEP_US
            self._ends[packet.kind] = packet.dts_us, max(0, step_us)
        return packet

    def _go_on(self, start_us: int, failure: SourceError | None = None) -> bool:
        """Continues with the next entry that can be played, at this time; False at the end of the list.

        `failure`: of the current entry. Raises it, or that of another entry, where no later entry can be
        played and another try may help.
        """
        failures = [failure] if failure is not None else []
        if failure is not None:
            self._leave_out(self._number, failure)
        for number in range(self._number + 1, len(self._urls)):
            try:
                self._begin(number, start_us)
                return True
            except SourceError as error:
                self._leave_out(number, error)
                failures.append(error)
            if self._aborted or len(failures) > MOST_FAILURES:
                break
        # One failure at the end is left out like others; with several, the way to all of them may be broken.
        waits = next((found for found in failures if found.transient), None)
        if failures and (self._aborted or not self._played):
            raise waits or failures[0]
        if waits is not None and (waits is failure or len(failures) > 1):
            raise waits
        return False

    def _begin(self, number: int, start_us: int) -> None:
        """Raises SourceError."""
        source = self._opener.find(self._urls[number])
        with self._lock:
            aborted, before = self._aborted, self._source
            self._source = source
        before.close()
        if aborted:
            raise interrupted("reading was aborted")
        self._probe = source.open()
        self._number, self._start_us, self._joining = number, start_us, True
        self._ends.clear()

    def _leave_out(self, number: int, failure: SourceError) -> None:
        self.notes.add(left_out(number, self._urls[number], failure))
