"""Fetches what playlists name: playlists, keys, initialization sections, segments; byte ranges and AES-128.

Every address goes through `net.http` and its guard; FFmpeg sees only bytes. Everything blocks on a worker
thread; `Fetcher.abort` breaks every wait.
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from sluice.core.errors import SourceError, interrupted, unsupported
from sluice.core.limits import MOST_PLAYLIST_BYTES
from sluice.core.masking import mask_url
from sluice.media.source.hls_forms import HEAD_BYTES, Ending, Form, form_of
from sluice.media.source.hls_playlist import Header, Key, Part
from sluice.media.source.sniff import SniffedFile, read_up_to
from sluice.net.http import HttpFile

_MOST_KEYS, _MOST_HEADERS = 16, 8
_LONGEST_HEADER = 4 << 20
_BLOCK = 16


class Fetcher:
    """Opens files, and aborts those that are open. `connect` makes a file of an address."""

    def __init__(self, connect: Callable[[str], HttpFile]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._open: set[HttpFile] = set()
        self._aborted = threading.Event()
        self._keys: dict[str, bytes] = {}
        self._headers: dict[Header, bytes] = {}
        self._place = 0  #: index of the address that worked last, among several of the same resource

    def open(self, url: str, wait_s: float | None = None) -> HttpFile:
        """A file that is not connected yet, to be given back with `close`. `wait_s`: see
        HttpFile.wait_at_most; None: the usual time. Raises SourceError."""
        file = self._connect(url)
        if wait_s is not None:
            file.wait_at_most(wait_s)
        with self._lock:
            if self._aborted.is_set():
                raise interrupted("reading was aborted")
            self._open.add(file)
        return file

    def that_answers(self, part: Part) -> Part:
        """The same part with only that address that answers. Raises SourceError."""
        self.close(self.open_part(part))
        urls = (part.url, *part.others)
        return replace(part, url=urls[self._place % len(urls)], others=())

    def open_part(self, part: Part, wait_s: float | None = None) -> HttpFile:
        """A file that is connected to the first address of the part that answers. Raises SourceError."""
        urls = (part.url, *part.others)
        first: SourceError | None = None
        for n in range(len(urls)):
            place = (self._place + n) % len(urls)
            file: HttpFile | None = None
            try:
                file = self.open(urls[place], wait_s)
                file.seekable()  # connects
            except SourceError as error:
                if file is not None:
                    self.close(file)
                self.raise_if_aborted()
                first = first or error
            else:
                if part.others:
                    self._place = place
                return file
        assert first is not None  # noqa: S101 - there is one address at least
        raise first

    def close_all(self) -> None:
        """Closes all files that are open."""
        with self._lock:
            files = list(self._open)
        for file in files:
            self.close(file)

    def close(self, file: HttpFile) -> None:
        with self._lock:
            self._open.discard(file)
        file.close()

    def text(self, url: str) -> tuple[str, str]:
        """A playlist, and its address behind all redirects. Raises SourceError."""
        file = self.open(url)
        try:
            return read_text(file), file.url
        finally:
            self.close(file)

    def key(self, url: str, wait_s: float | None = None) -> bytes:
        """The 16 bytes of a key, kept for the next segment. Raises SourceError."""
        if url not in self._keys:
            file = self.open(url, wait_s)
            try:
                key = read_up_to(file, _BLOCK + 1)
            finally:
                self.close(file)
            if len(key) != _BLOCK:
                raise unsupported(f"{mask_url(url)} gives no key of 16 bytes")
            _make_room(self._keys, _MOST_KEYS)
            self._keys[url] = key
        return self._keys[url]

    def header(self, header: Header, wait_s: float | None = None) -> bytes:
        """The bytes of an initialization section, kept for the next time. Raises SourceError."""
        if header not in self._headers:
            body = Body(self, header.part, header.key, wait_s)
            try:
                data = read_up_to(body, _LONGEST_HEADER + 1)
            finally:
                body.close()
            if not data or len(data) > _LONGEST_HEADER:
                raise unsupported(
                    f"{mask_url(header.part.url)} is no initialization section: it has "
                    f"{'more than 4 MiB' if data else 'no bytes'}"
                )
            _make_room(self._headers, _MOST_HEADERS)
            self._headers[header] = data
        return self._headers[header]

    def raise_if_aborted(self) -> None:
        """To be called after a failure that is caught: raises SourceError if `abort` caused it, since then
        nothing may be tried again."""
        self.wait(0)

    def wait(self, seconds: float) -> None:
        """Waits. Raises SourceError when aborted meanwhile."""
        if self._aborted.wait(max(seconds, 0)):
            raise interrupted("reading was aborted")

    def abort(self) -> None:
        """From any thread: all that is open, or is opened later, fails."""
        with self._lock:
            self._aborted.set()
            files = list(self._open)
        for file in files:
            file.abort()


class Body:
    """One resource, or a range of it, decrypted. The constructor connects."""

    def __init__(
        self,
        fetcher: Fetcher,
        part: Part,
        key: Key | None,
        wait_s: float | None = None,
        most_s: float = math.inf,
    ) -> None:
        """`wait_s`: the longest wait for an answer, and between bytes; `most_s`: the longest of all waits
        together. Raises SourceError."""
        self._fetcher, self._part, self._wait_s, self._most_s = fetcher, part, wait_s, most_s
        self._waited_s = 0.0
        self._received = 0
        self._asks_again = False  #: not for a body that does not even begin: its reader tries anew
        self._cipher: CipherContext | None = None
        self._held = b""  #: decrypted; padding if nothing follows
        self._ready = b""
        if key is not None:
            secret = fetcher.key(key.url, wait_s)
            self._cipher = Cipher(algorithms.AES(secret), modes.CBC(key.iv)).decryptor()
        self._file = fetcher.open_part(part, wait_s)
        try:
            self.form = form_of(self._look())
        except SourceError:
            self.close()
            raise
        self._ending, self._asks_again = Ending(self.form), True

    def read(self, size: int) -> bytes:
        """1 to `size` bytes; none at the end. Raises SourceError."""
        if not self._ready:
            self._ready = self._decrypted(size)
        out, self._ready = self._ready[:size], self._ready[size:]
        self._ending.feed(out)
        return out

    def is_whole(self) -> bool:
        """Whether what was read so far may be all of it."""
        return self._ending.is_whole()

    def close(self) -> None:
        self._fetcher.close(self._file)

    def _look(self) -> bytes:
        head = b""
        while len(head) < HEAD_BYTES and (data := self._decrypted(HEAD_BYTES)):
            head += data
        self._ready = head
        return head

    def _decrypted(self, size: int) -> bytes:
        if self._cipher is None:
            return self._receive(size)
        while data := self._receive(size):
            clear = self._held + self._cipher.update(data)
            self._held = clear[-_BLOCK:]
            if len(clear) > _BLOCK:
                return clear[:-_BLOCK]
        last, self._held = self._held, b""
        padding = last[-1] if last else 0
        # RFC 5652 6.3; some packagers leave it out.
        padded = 0 < padding <= _BLOCK and last.endswith(bytes([padding]) * padding)
        return last[:-padding] if padded else last

    def _receive(self, size: int) -> bytes:
        left = None if self._part.length is None else self._part.length - self._received
        if left == 0:
            return b""
        if self._part.offset and self._file.tell() == 0:
            self._seek()
        size = size if left is None else min(size, left)
        self._check_pace()
        try:
            data = self._read(size)
        except SourceError as error:
            self._fetcher.raise_if_aborted()
            if not error.transient or not self._asks_again or self._file.seekable():
                raise  # where the server honours Range, the file has asked again by itself
            data = self._ask_again(size, error)
        self._received += len(data)
        return data

    def _read(self, size: int) -> bytes:
        begun = time.monotonic()
        data = self._file.read(size)
        self._waited_s += time.monotonic() - begun
        return data

    def _check_pace(self) -> None:
        if self._waited_s > self._most_s:
            raise interrupted(f"{mask_url(self._part.url)} did not come within {self._most_s:g} s")

    def _ask_again(self, size: int, cause: SourceError) -> bytes:
        """Requests a body that broke off, of a server that ignores Range, once more and reads up to there."""
        self._asks_again = False
        self._fetcher.close(self._file)
        self._file = self._fetcher.open_part(self._part, self._wait_s)
        if self._part.offset:
            self._seek()
        known = self._received
        while known:
            self._check_pace()
            data = self._read(min(1 << 16, known))
            if not data:
                raise cause
            known -= len(data)
        return self._read(size)

    def _seek(self) -> None:
        try:
            self._file.seek(self._part.offset)
        except OSError as error:
            raise unsupported(
                "the playlist names ranges of a file whose server ignores Range requests"
            ) from error


def is_media(form: Form, before: Form | None) -> bool:
    """Whether a segment may be given to a demuxer, by its form and that of the one before it."""
    return form not in (Form.EMPTY, Form.TEXT) and (form is not Form.OTHER or before in (None, Form.OTHER))


def read_text(file: HttpFile | SniffedFile) -> str:
    """A whole playlist. Raises SourceError."""
    data = read_up_to(file, MOST_PLAYLIST_BYTES + 1)
    if len(data) > MOST_PLAYLIST_BYTES:
        raise unsupported(f"the playlist is longer than {MOST_PLAYLIST_BYTES >> 20} MiB")
    return data.decode("utf-8-sig", "replace")


def _make_room(kept: dict[Any, bytes], most: int) -> None:
    while len(kept) >= most:
        del kept[next(iter(kept))]
