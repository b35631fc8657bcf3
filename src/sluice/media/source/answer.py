"""Requests an HTTP address, and finds the source that plays the answer. Blocks, on a worker thread."""

import io
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from weakref import WeakSet

from sluice.core.errors import SourceError, unsupported
from sluice.core.plan import Probe
from sluice.media.packets import TrackKind
from sluice.media.source.containers import Container, container_for
from sluice.media.source.dash import DashSource
from sluice.media.source.file import DemuxSource
from sluice.media.source.hls import HlsSource
from sluice.media.source.playlist import (
    MOST_FAILURES,
    Opener,
    PlaylistSource,
    entries_of,
    is_hls,
    left_out,
    may_be_list,
    read_list,
)
from sluice.media.source.recorded import comes_as_stored, is_station, is_stored
from sluice.media.source.sniff import Content, SniffedFile, content_of, refuse_foreign
from sluice.net.http import HttpFile

#: How deep play lists may be nested.
_DEEPEST = 3
#: Media that a station may keep for a new player: 64 kB of 8 kbit/s are a minute.
_STORE_US = 120_000_000
#: How far a live source whose arrival was measured may come ahead of its own pace.
_AHEAD_US = 5_000_000


@dataclass(frozen=True, slots=True)
class Endless:
    """A source without an end. `ahead_us`: how much media may come ahead of time."""

    file: HttpFile
    head: SniffedFile
    demuxer: Container
    probe: Probe
    ahead_us: int
    entries: int | None = None  #: of the list that named it first

    def abort(self) -> None:
        self.file.abort()

    def close(self) -> None:
        self.demuxer.close()
        self.file.close()


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A list whose first playable entry has another scheme. `notes`: about the entries before it."""

    url: str
    notes: tuple[str, ...] = ()
    entries: int | None = None  #: of the list

    def abort(self) -> None: ...

    def close(self) -> None: ...


Recorded = DemuxSource | HlsSource | DashSource | PlaylistSource


class SourceFinder:
    """`connect` makes files of addresses, not connected yet. Only tracks of `kinds` are read."""

    def __init__(self, connect: Callable[[str], HttpFile], kinds: frozenset[TrackKind]) -> None:
        self._make, self._kinds = connect, kinds
        self._lock = threading.Lock()
        self._files: WeakSet[HttpFile] = WeakSet()
        self._aborted = False
        self._failures = 0  #: of entries in a row, whatever list they stand in

    def abort(self) -> None:
        """From any thread: all files of this address fail at once, also those that are made later."""
        with self._lock:
            self._aborted = True
            files = list(self._files)
        for file in files:
            file.abort()

    def find(self, url: str, depth: int = 0) -> Recorded | Endless | Elsewhere:
        """A source that is not opened yet, to be closed. `depth`: of nested lists. Raises SourceError."""
        file = self._connect(url)
        try:
            return self._source_of(file, partial(self._connect, url), depth)
        except BaseException:
            file.close()
            raise

    def _source_of(
        self, file: HttpFile, connect: Callable[[], HttpFile], depth: int
    ) -> Recorded | Endless | Elsewhere:
        head = SniffedFile(file)
        content = content_of(head.head)
        if content is Content.DASH:
            return DashSource(file, head, self._connect, self._kinds)
        if content is Content.M3U:
            if b"\n#EXT-X-" in head.head:
                return HlsSource(file, head, self._connect, self._kinds)
            text = read_list(head)
            if is_hls(text):
                again = SniffedFile(io.BytesIO(text.encode()))
                return HlsSource(file, again, self._connect, self._kinds)
            return self._list(file, content, text, depth)
        if content in (Content.PLS, Content.XSPF) or (
            content is Content.TEXT and may_be_list(head.head, file.content_type, file.url)
        ):
            return self._list(file, content, read_list(head), depth)
        refuse_foreign(content)
        return self._media(file, head, connect)

    def _media(
        self, file: HttpFile, head: SniffedFile, connect: Callable[[], HttpFile]
    ) -> DemuxSource | Endless:
        station = is_station(file)
        if not station and is_stored(file, head.head):
            file.recorded = True
            return DemuxSource(file, head, connect, self._kinds)
        demuxer = container_for(head, live=True, kinds=self._kinds)
        probe = demuxer.open()
        ahead_us = _STORE_US
        if not station:
            stored, came_us = comes_as_stored(demuxer)
            if stored:
                file.recorded = True
                return DemuxSource(file, head, connect, self._kinds, (demuxer, probe))
            ahead_us = came_us + _AHEAD_US
        return Endless(file, head, demuxer, probe, ahead_us)

    def _connect(self, url: str) -> HttpFile:
        file = self._make(url)
        with self._lock:
            self._files.add(file)
            if self._aborted:
                file.abort()
        return file

    # --- lists --------------------------------------------------------------------------------------------

    def _list(
        self, file: HttpFile, content: Content, text: str, depth: int
    ) -> Recorded | Endless | Elsewhere:
        urls = entries_of(content, text, file.url)
        file.close()
        if depth >= _DEEPEST:
            raise unsupported(f"play lists name each other more than {_DEEPEST} deep")
        failures: dict[int, SourceError] = {}
        for number, url in enumerate(urls):
            if url.partition(":")[0].lower() in ("rtmp", "rtmps"):
                return _noted(Elsewhere(url), urls, failures)
            try:
                found = self.find(url, depth + 1)
            except SourceError as error:
                failures[number] = error
                self._failures += 1
                if self._failures > MOST_FAILURES:
                    break
                continue
            self._failures = 0
            if isinstance(found, Endless | Elsewhere):
                return _noted(found, urls, failures)
            if len(urls) == 1:
                return found
            opener = Opener(partial(self._entry, depth + 1), self.abort)
            return PlaylistSource(urls, (number, found), opener, failures)
        raise next((error for error in failures.values() if error.transient), failures[0])

    def _entry(self, depth: int, url: str) -> Recorded:
        """An entry behind the first. One that seems endless is read to its end, if it has one."""
        found = self.find(url, depth)
        if isinstance(found, Endless):
            connect = partial(self._connect, url)
            return DemuxSource(found.file, found.head, connect, self._kinds, (found.demuxer, found.probe))
        if isinstance(found, Elsewhere):
            raise unsupported("only the first entry of a play list may be RTMP")
        return found


def _noted(
    found: Endless | Elsewhere, urls: Sequence[str], failures: Mapping[int, SourceError]
) -> Endless | Elsewhere:
    """`found`, which is played without its list, with notes about the entries before it."""
    notes = [left_out(number, urls[number], failure) for number, failure in failures.items()]
    if isinstance(found, Elsewhere):
        return replace(found, notes=(*notes, *found.notes), entries=len(urls))
    for text in notes:
        found.demuxer.notes.add(text)
    return replace(found, entries=len(urls))
