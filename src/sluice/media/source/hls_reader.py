"""The bytes of HLS playlists: reloading, segments one behind the other, byte ranges, AES-128.

Every address, playlist, segment and key goes through `net.http` and its guard; FFmpeg sees only bytes. It
all blocks on a worker thread; `Fetcher.abort` breaks every wait.
"""

import threading
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.masking import mask_url
from sluice.media.source.hls_playlist import MOST_BYTES, Key, MediaPlaylist, Part, Segment
from sluice.media.source.sniff import SniffedFile
from sluice.net.http import HttpFile

#: A live playlist that stays the same for so long is a loss; three target durations if that is longer.
_STALL_S = 10.0
_MOST_KEYS = 16
_BLOCK = 16


class Fetcher:
    """Opens files, and aborts those that are open. `connect` makes one from an address."""

    def __init__(self, connect: Callable[[str], HttpFile]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._open: set[HttpFile] = set()
        self._aborted = threading.Event()
        self._keys: dict[str, bytes] = {}

    def open(self, url: str) -> HttpFile:
        """Not connected yet; to be given back with `close`. Raises SourceError."""
        file = self._connect(url)
        with self._lock:
            if self._aborted.is_set():
                raise _interrupted("reading was aborted")
            self._open.add(file)
        return file

    def close(self, file: HttpFile) -> None:
        with self._lock:
            self._open.discard(file)
        file.close()

    def text(self, url: str) -> tuple[str, str]:
        """A playlist and the address it came from in the end. Raises SourceError."""
        file = self.open(url)
        try:
            return read_text(file), file.url
        finally:
            self.close(file)

    def key(self, url: str) -> bytes:
        """The 16 bytes of a key, kept for the next segment. Raises SourceError."""
        if url not in self._keys:
            file = self.open(url)
            try:
                key = _read_all(file, _BLOCK + 1)
            finally:
                self.close(file)
            if len(key) != _BLOCK:
                raise SourceError(
                    Reason.SOURCE_UNSUPPORTED, f"{mask_url(url)} gives no key of 16 bytes", transient=False
                )
            while len(self._keys) >= _MOST_KEYS:
                del self._keys[next(iter(self._keys))]
            self._keys[url] = key
        return self._keys[url]

    def wait(self, seconds: float) -> None:
        """Raises SourceError when aborted meanwhile."""
        if self._aborted.wait(max(seconds, 0)):
            raise _interrupted("reading was aborted")

    def abort(self) -> None:
        """From any thread."""
        with self._lock:
            self._aborted.set()
            files = list(self._open)
        for file in files:
            file.abort()


class SegmentsGone(SourceError):
    """We were too slow: the next segment of a live playlist is no longer listed."""

    def __init__(self) -> None:
        super().__init__(
            Reason.SOURCE_INTERRUPTED, "the live source is faster than it can be read", transient=True
        )


class Rendition:
    """One media playlist: gives its segments in order, and waits for the next one of a live playlist."""

    def __init__(
        self, playlist: MediaPlaylist, fetcher: Fetcher, reload: Callable[[], MediaPlaylist]
    ) -> None:
        """`reload` gives the playlist as it is now, with the same numbers for the same segments."""
        self.playlist = playlist
        self.fetcher = fetcher
        self._load = reload
        self._loaded_at = self._changed_at = time.monotonic()
        self._next = (playlist.segments[0] if playlist.ended else playlist.join()).sequence
        #: On a clock that runs on over reloads: the end of the playlist, and where the last segment begins
        #: that was taken from it.
        self._end_us = playlist.duration_us
        self.taken_us = 0
        self._missed: tuple[int, float] | None = None  #: a segment that was not there, and since when

    def seek(self, position_us: int) -> None:
        self._next = self.playlist.at(position_us).sequence

    def newest_us(self) -> int:
        """Where the source is by now: it goes on while the playlist is not asked for."""
        return self._end_us + int((time.monotonic() - self._loaded_at) * 1e6)

    def begin_us(self, segment: Segment) -> int:
        """Where a segment of the playlist begins, on the clock of `newest_us`."""
        return self._end_us - self.playlist.duration_us + segment.start_us

    def lags(self) -> bool:
        """Whether one who joins now begins further on, by a segment at least. Raises SourceError."""
        if time.monotonic() - self._loaded_at > self.playlist.target_us / 1e6:
            self._load_again()
        return not self.playlist.ended and self.playlist.join().sequence > self._next

    def rejoin(self, behind_us: int | None = None) -> Segment:
        """Goes to where one who joins now begins, or a segment before what is `behind_us` from the end, since
        the other playlist may be newer than this one."""
        segment = self.playlist.join()
        if behind_us is not None:
            segments = self.playlist.segments
            place = self.playlist.at(self.playlist.duration_us - behind_us).sequence - segments[0].sequence
            segment = segments[max(0, place - 1)]
        self._next = segment.sequence
        return segment

    def peek(self) -> Segment | None:
        """The next segment, None at the end of a playlist that ended. Raises SourceError, SegmentsGone."""
        while True:
            segments = self.playlist.segments
            index = self._next - segments[0].sequence if segments else -1
            if segments and index < 0 and not self.playlist.ended:
                raise SegmentsGone
            if 0 <= index < len(segments):
                return segments[index]
            if self.playlist.ended:
                return None
            self._reload()

    def advance(self, segment: Segment) -> None:
        self._next = segment.sequence + 1
        self.taken_us = self.begin_us(segment)

    def miss(self, segment: Segment) -> None:
        """An optional segment is not there: a recording goes on without it; in a live source it is late, and
        the next one again after a pause. Raises SourceError when it has been late for too long."""
        if self.playlist.ended:
            return
        now, target_s = time.monotonic(), self.playlist.target_us / 1e6
        if self._missed is None or self._missed[0] != segment.sequence:
            self._missed = (segment.sequence, now)
        if now - self._missed[1] > (limit_s := max(_STALL_S, 3 * target_s)):
            raise _interrupted(f"{mask_url(segment.part.url)} was not there for {limit_s:g} s")
        self._next = segment.sequence
        self.fetcher.wait(target_s / 2)
        self._load_again()

    def _reload(self) -> None:
        """Waits as RFC 8216 6.3.4 asks: a target duration after a change, half of it without one."""
        target_s = self.playlist.target_us / 1e6
        unchanged = self._changed_at < self._loaded_at
        self.fetcher.wait(self._loaded_at + target_s / (2 if unchanged else 1) - time.monotonic())
        self._load_again()

    def _load_again(self) -> None:
        target_s = self.playlist.target_us / 1e6
        before, self.playlist = self.playlist, self._load()
        self._loaded_at = time.monotonic()
        self._end_us += sum(s.duration_us for s in self.playlist.segments if s.sequence > _end(before))
        if _end(self.playlist) > _end(before) or self.playlist.ended:
            self._changed_at = self._loaded_at
        elif _end(self.playlist) < _end(before):
            raise _interrupted("the live playlist began anew")
        elif self._loaded_at - self._changed_at > (limit_s := max(_STALL_S, 3 * target_s)):
            raise _interrupted(f"the live playlist did not grow for {limit_s:g} s")


class RunFile:
    """The bytes of one stretch of a rendition that a demuxer can read as one file. Not seekable."""

    def __init__(self, rendition: Rendition, first: Segment) -> None:
        self._rendition = rendition
        self._fetcher = rendition.fetcher
        self._first = first
        self._body: _Body | None = None
        self._segment = first
        self._header_due = first.header is not None
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        raise OSError("segments are read in order")

    def read(self, size: int) -> bytes:
        """1 to `size` bytes; none at the end of the run. Raises SourceError."""
        while True:
            if self._body is None and not self._open_next():
                return b""
            data = self._read_body(size)
            if data:
                self._position += len(data)
                return data
            self.close()

    def close(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()

    def _read_body(self, size: int) -> bytes:
        assert self._body is not None  # noqa: S101 - read opens it
        try:
            return self._body.read(size)
        except SourceError as error:
            if not self._segment.optional or error.reason is not Reason.SOURCE_REFUSED:
                raise
            self._rendition.miss(self._segment)
            return b""

    def _open_next(self) -> bool:
        if self._header_due and self._first.header is not None:
            self._header_due = False
            self._body = _Body(self._fetcher, self._first.header, self._first.key, self._first.sequence)
            return True
        segment = self._rendition.peek()
        if segment is None or (segment.run, segment.header) != (self._first.run, self._first.header):
            return False
        self._rendition.advance(segment)
        self._segment = segment
        self._body = _Body(self._fetcher, segment.part, segment.key, segment.sequence)
        return True


class _Body:
    """One resource, or a range of it, decrypted."""

    def __init__(self, fetcher: Fetcher, part: Part, key: Key | None, sequence: int) -> None:
        self._fetcher, self._part = fetcher, part
        self._left = part.length
        self._cipher: CipherContext | None = None
        self._held = b""  # decrypted, but padding if nothing follows
        self._ready = b""
        if key is not None:
            iv = key.iv or sequence.to_bytes(_BLOCK, "big")  # RFC 8216 5.2
            secret = fetcher.key(key.url)
            self._cipher = Cipher(algorithms.AES(secret), modes.CBC(iv)).decryptor()
        self._file = fetcher.open(part.url)

    def read(self, size: int) -> bytes:
        while not self._ready:
            data = self._receive(size)
            if self._cipher is None:
                return data
            if data:
                clear = self._held + self._cipher.update(data)
                self._ready, self._held = clear[:-_BLOCK], clear[-_BLOCK:]
            elif self._held:
                self._ready, self._held = self._held[: -self._held[-1]], b""  # PKCS#7
            else:
                return b""
        out, self._ready = self._ready[:size], self._ready[size:]
        return out

    def close(self) -> None:
        self._fetcher.close(self._file)

    def _receive(self, size: int) -> bytes:
        if self._left == 0:
            return b""
        if self._part.offset and self._file.tell() == 0:
            try:
                self._file.seek(self._part.offset)
            except OSError as error:
                raise SourceError(
                    Reason.SOURCE_UNSUPPORTED,
                    "the playlist names ranges of a file whose server ignores Range requests",
                    transient=False,
                ) from error
        data = self._file.read(size if self._left is None else min(size, self._left))
        if self._left is not None:
            self._left -= len(data)
        return data


def read_text(file: HttpFile | SniffedFile) -> str:
    """A whole playlist. Raises SourceError."""
    data = _read_all(file, MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise SourceError(
            Reason.SOURCE_UNSUPPORTED, f"the playlist is longer than {MOST_BYTES >> 20} MiB", transient=False
        )
    return data.decode("utf-8-sig", "replace")


def _read_all(file: HttpFile | SniffedFile, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size < most and (data := file.read(min(65536, most - size))):
        parts.append(data)
        size += len(data)
    return b"".join(parts)


def _end(playlist: MediaPlaylist) -> int:
    return playlist.segments[-1].sequence if playlist.segments else -1


def _interrupted(text: str) -> SourceError:
    return SourceError(Reason.SOURCE_INTERRUPTED, text, transient=True)
