"""Unpacks answers (Content-Encoding: gzip, deflate and br); some servers pack whatever they are asked.

It works piece by piece, so memory stays small, and refuses data that grows more than media and playlists can
(a bomb). Data that is said to be gzip but is not is passed on as it is.
"""

import zlib
from collections.abc import Callable
from typing import Protocol

import brotli

from sluice.core.errors import interrupted, unsupported

#: So many bytes are always unpacked; more only up to this ratio to the packed data.
FREE_BYTES, MOST_RATIO = 16 << 20, 100
MOST_LAYERS = 2

_PACKED_BYTES = 65536
_GZIP = b"\x1f\x8b"


class _Codec(Protocol):
    @property
    def over(self) -> bool:
        """Whether the packed data came to its end."""

    def unpack(self, data: bytes, size: int) -> bytes:
        """About `size` bytes. A call without data gives what did not fit. Raises zlib.error, brotli.error."""


class Unpacker:
    """`read` works like a file's; `pull` gives packed data."""

    def __init__(self, codings: list[str], pull: Callable[[int], bytes]) -> None:
        """`codings` as `codings_of` gives them: in the order in which they were applied."""
        self._name, *others = codings
        self._inner = Unpacker(others, pull) if others else None
        self._pull = self._inner.read if self._inner else pull
        self._codec = _CODECS[self._name]()
        self._pulled = self._unpacked = 0
        self._starved = True  # the codec has given all that it has
        self._ready = b""
        self._ended = False

    def read(self, size: int) -> bytes:
        """1 to `size` bytes; empty at the end. Raises SourceError, and what `pull` does."""
        if not self._ready:
            self._ready = self._unpack(size)
        out, self._ready = self._ready[:size], self._ready[size:]
        return out

    def _unpack(self, size: int) -> bytes:
        while not self._ended:
            data = b""
            if self._starved:
                data = self._pull(_PACKED_BYTES)
                self._pulled += len(data)
                if not data:
                    self._finish()
                    break
            try:
                out = self._codec.unpack(data, size)
            except (zlib.error, brotli.error) as error:
                raise interrupted(f"what the server sent as {self._name} cannot be unpacked") from error
            self._unpacked += len(out)
            self._check_ratio()
            self._starved = not out
            if out:
                return out
        return b""

    def _finish(self) -> None:
        self._ended = True
        if self._pulled and not self._codec.over:
            raise interrupted(f"the server's answer, packed with {self._name}, ends in the middle")

    @property
    def packed(self) -> int:
        """Packed bytes that came over the net."""
        return self._inner.packed if self._inner else self._pulled

    def _check_ratio(self) -> None:
        if self._unpacked > FREE_BYTES and self._unpacked > self.packed * MOST_RATIO:
            raise unsupported(
                f"the server's answer grows more than {MOST_RATIO} times when it is unpacked ({self._name}); "
                "give an address that sends it unpacked"
            )


def codings_of(names: list[str]) -> list[str]:
    """Those of `names` that have to be undone. Raises SourceError for one that cannot be undone.

    A name that is no coding (`identity`, `none`, a charset) is skipped, as browsers do.
    """
    codings = [name.removeprefix("x-") for name in names]
    unknown = next((name for name in codings if name in _NOT_OURS), None)
    codings = [name for name in codings if name in _CODECS]
    if unknown is not None or len(codings) > MOST_LAYERS:
        what = unknown or ", ".join(codings)
        raise unsupported(
            f"the server packs its answer with {what}, though it was asked not to; "
            "what can be unpacked is gzip, deflate and br"
        )
    return codings


class _Gzip:
    """Members that follow each other; data behind them is ignored."""

    def __init__(self) -> None:
        self.over = False
        self._plain = False
        self._begun = False
        self._held = b""
        self._member: zlib._Decompress | None = None

    def unpack(self, data: bytes, size: int) -> bytes:
        data = self._held + data
        if self._plain:
            self._held = data[size:]
            return data[:size]
        while True:
            if self._member is None:
                if data[: len(_GZIP)] != _GZIP:
                    return self._without_member(data, size)
                self._member, self._begun, self.over = zlib.decompressobj(31), True, False
            out = self._member.decompress(data, size)
            self._held = self._member.unconsumed_tail
            if not self._member.eof:
                return out
            self._held, self._member, self.over = self._member.unused_data, None, True
            if out or self._held[:2] != _GZIP:
                return out
            data = self._held  # an empty member has no data

    def _without_member(self, data: bytes, size: int) -> bytes:
        if len(data) < len(_GZIP) and _GZIP.startswith(data):
            self._held = data
        elif self._begun:
            self._held = b""
        else:
            self._plain = self.over = True
            self._held = data[size:]
            return data[:size]
        return b""


class _Deflate:
    """With the header of zlib or, as some servers send it, without."""

    def __init__(self) -> None:
        self._inner: zlib._Decompress | None = None
        self._held = b""

    @property
    def over(self) -> bool:
        return self._inner is not None and self._inner.eof

    def unpack(self, data: bytes, size: int) -> bytes:
        data = self._held + data
        if self._inner is None:
            if len(data) < 2:
                self._held = data
                return b""
            # RFC 1950: method 8, and both bytes are a multiple of 31.
            zlibs = data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._inner = zlib.decompressobj(15 if zlibs else -15)
        if self._inner.eof:
            return b""
        out = self._inner.decompress(data, size)
        self._held = self._inner.unconsumed_tail
        return out


class _Brotli:
    def __init__(self) -> None:
        self._inner = brotli.Decompressor()
        self._held = b""

    @property
    def over(self) -> bool:
        return bool(self._inner.is_finished())

    def unpack(self, data: bytes, size: int) -> bytes:
        if self.over:
            return b""
        self._held += data
        if self._inner.can_accept_more_data():
            data, self._held = self._held, b""
        else:
            data = b""
        return bytes(self._inner.process(data, output_buffer_limit=size))


_CODECS: dict[str, Callable[[], _Codec]] = {"gzip": _Gzip, "deflate": _Deflate, "br": _Brotli}
_NOT_OURS = frozenset({"compress", "zstd", "dcb", "dcz", "exi", "pack200-gzip"})
