"""The bytes at an HTTP address, read in ranges; it follows redirects, takes parts of any size and repairs
losses. Blocks.

One connection streams until a jump. After a complete part the next one is asked for. A body that breaks off
is continued with a Range request, at most MOST_LOSSES times in a row without new bytes.
"""

import asyncio
import time

from sluice.core.errors import SourceError, interrupted
from sluice.core.http_url import HttpUrl, join_url
from sluice.core.limits import LONGEST_WALK_S
from sluice.core.masking import mask_text, mask_url
from sluice.net.context import HttpContext
from sluice.net.dial import Dialer
from sluice.net.exchange import ErrorAnswer, Exchange, HttpTimeouts, refused
from sluice.net.target import parse_target
from sluice.wire.http_answer import Head, HttpError

MOST_REDIRECTS = 10
MOST_LOSSES = 2
#: After so many bytes without a loss, earlier losses are forgotten.
_FORGET_LOSSES_BYTES = 32 * 1024
#: A shorter jump forward is read through, which is cheaper than a new request.
_READ_THROUGH_BYTES = 256 * 1024
#: So much is read through if a server does not honour Range; a new start would read as much.
_MOST_SKIPPED_BYTES = 256 << 20
_SKIP_BYTES = 65536
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GOOD = frozenset({200, 203, 206})


class HttpBytes:
    """Call `open` first, then `read`, with `seek` in between."""

    def __init__(
        self,
        url: str,
        dialer: Dialer,
        loop: asyncio.AbstractEventLoop,
        context: HttpContext,
        timeouts: HttpTimeouts,
    ) -> None:
        """Raises SourceError (permanent) for a URL that is not one of HTTP."""
        self._target = self.final = parse_target(url)
        self._exchange = Exchange(dialer, loop, context, timeouts)
        self._stall_s = timeouts.stall_s
        self._head: Head | None = None  # of the first answer that was no redirect
        self._asks_ranges = True
        self.size: int | None = None  #: None if the server does not tell
        self.ranged = False  #: it honours Range
        self.recorded = False  #: the same bytes can be read again from the beginning, if the size is known
        self.position = 0
        self._streamed = 0  # the position of the body that is being read
        self._part_end: int | None = None
        self._over = False  # there is nothing at the position
        self._losses = self._since_loss = 0
        self._stall_counts = 1

    def wait_at_most(self, seconds: float) -> None:
        """Sets the limit of each step from now on; what stalls is then asked for only once more."""
        usual = self._exchange.timeouts
        waits = (usual.connect_s, usual.first_byte_s, usual.stall_s)
        self._exchange.timeouts = HttpTimeouts(*(min(wait_s, seconds) for wait_s in waits))
        self._stall_s, self._stall_counts = self._exchange.timeouts.stall_s, MOST_LOSSES

    def open(self) -> Head:
        """The head of the first answer. Raises SourceError."""
        self._exchange.check_aborted()
        if self._head is None:
            self._open(0)
        assert self._head is not None  # noqa: S101 - opened
        return self._head

    def read(self, size: int) -> bytes:
        """1 to `size` bytes as they arrive; empty at the end. Raises SourceError."""
        while not self._at_end():
            try:
                if not self._align():
                    continue
                data = self._receive(size)
            except (OSError, HttpError) as error:
                self._on_loss(error)
                continue
            if data:
                self.position = self._streamed
                self._since_loss += len(data)
                if self._since_loss > _FORGET_LOSSES_BYTES:
                    self._losses = 0
                return data
            if self._part_end is None:
                break
            self._end_part()
        return b""

    def seek(self, position: int) -> None:
        """The request follows with the next read."""
        self.position, self._over = position, False

    def close(self) -> None:
        self._exchange.close()

    def abort(self) -> None:
        """From any thread: what blocks here fails at once, and so does all that follows."""
        self._exchange.abort()

    # --- bodies --------------------------------------------------------------------------------------------

    def _at_end(self) -> bool:
        return self._over or (self.size is not None and self.position >= self.size)

    def _align(self) -> bool:
        """Brings the body to the reader's position: reads on, or asks anew. False: to be called again."""
        if not self._exchange.answered or not 0 <= self.position - self._streamed < _READ_THROUGH_BYTES:
            try:
                self._open(self.position)
            except SourceError as error:
                self._on_loss(error)
                return False
        while self._streamed < self.position:
            if not self._receive(min(_SKIP_BYTES, self.position - self._streamed)):
                if self._part_end is None:
                    raise interrupted(
                        f"{mask_url(self.final.url)} has changed: it ends at {self._streamed} bytes now"
                    )
                self._exchange.close()  # the position lies in the next part
                return False
        return not self._over

    def _receive(self, size: int) -> bytes:
        if self._part_end is not None:
            size = min(size, self._part_end - self._streamed)
        data = self._exchange.read1(size) if size > 0 else b""
        self._streamed += len(data)
        return data

    def _end_part(self) -> None:
        """A complete part is no loss: servers may send less than was asked for (RFC 9110 15.3.7)."""
        if self._streamed == self._part_end:
            self._losses = 0
            self._exchange.close()
        else:
            self._on_loss(ConnectionError("the connection was closed in the middle of the part"))

    def _on_loss(self, cause: Exception) -> None:
        """Returns when another attempt is due."""
        self._exchange.close()
        self._exchange.check_aborted()
        stalled = isinstance(cause, TimeoutError)
        self._losses += self._stall_counts if stalled else 1
        self._since_loss = 0
        if isinstance(cause, SourceError) and (cause.denied or not cause.transient):
            raise cause
        goes_on = self.ranged or self._part_end or (self.recorded and self.size is not None)
        if self._losses > MOST_LOSSES or not goes_on:
            what = f"nothing came for {self._stall_s:g} s" if stalled else "the connection was lost"
            where = f"after {self.position} bytes of {mask_url(self._target.url)}"
            why = f": {cause}" if isinstance(cause, SourceError) else ""
            raise interrupted(f"{what} {where}{why}") from cause

    # --- requests ------------------------------------------------------------------------------------------

    def _open(self, position: int) -> None:
        """Asks for the bytes from `position` on."""
        try:
            if self._head is not None and self.final != self._target:
                try:
                    self._accept(*self._walk(self.final, position), position)
                    return
                except SourceError:  # the target of the redirects may have expired
                    self._exchange.check_aborted()
            self._accept(*self._walk(self._target, position), position)
        except SourceError:
            self._exchange.close()
            raise

    def _walk(self, url: HttpUrl, position: int) -> tuple[Head, HttpUrl]:
        """The first answer that is no redirect, and its address."""
        way, until = [url], time.monotonic() + LONGEST_WALK_S
        while True:
            head = self._exchange.ask(way[-1], position if self._asks_ranges else None)
            location = head.get("location")
            if head.status not in _REDIRECTS or not location:
                return head, way[-1]
            if len(way) > MOST_REDIRECTS:
                raise _lost_way(way)
            if time.monotonic() > until:
                raise refused(f"{mask_url(url.url)} redirects for more than {LONGEST_WALK_S:g} s")
            way.append(parse_target(join_url(way[-1].url, location)))

    def _accept(self, head: Head, url: HttpUrl, position: int) -> None:
        part = head.content_range if head.status == 206 else None
        if head.status == 416 and self._is_end(head, position):
            self._exchange.close()
            self._over = True
            self._begin(head, url, position, position if self._head is None else self.size)
        elif head.status == 416 and self._head is None and self._asks_ranges:
            self._asks_ranges = False  # some servers answer so to any range
            self._accept(*self._walk(self._target, position), position)
        elif head.status not in _GOOD:
            raise _refusal(head, url)
        else:
            size, start = (part.size, part.start) if part else (head.length, 0)
            ignored = part is None and (head.status == 206 or position > _MOST_SKIPPED_BYTES)
            beside = part is not None and not part.start <= position < part.end
            if beside or (position and ignored):
                raise interrupted(
                    f"the server of {mask_url(url.url)} does not give the range that was asked for"
                )
            self._begin(head, url, start, size)
            self._part_end = part.end if part else None

    def _is_end(self, head: Head, position: int) -> bool:
        """Whether a 416 answer only says that `position` is the end."""
        size = head.size_without_range
        if size is None:
            return position > 0 and self.size is None
        return position >= size

    def _begin(self, head: Head, url: HttpUrl, start: int, size: int | None) -> None:
        if self._head is None:
            self._head, self.size = head, size
            self.ranged = head.content_range is not None and size is not None
        elif size is not None and self.size is not None and size != self.size:
            raise interrupted(f"{mask_url(url.url)} has changed: it has {size} bytes now, not {self.size}")
        self._streamed, self.final = start, url


def _lost_way(way: list[HttpUrl]) -> SourceError:
    addresses = [mask_url(url.url) for url in way]
    asked = [url.url for url in way]  # those that differ in what is masked are no circle
    first = asked.index(asked[-1])
    if first < len(addresses) - 1:
        circle = " → ".join(dict.fromkeys(addresses[first:]))
        return refused(f"the server redirects in a circle: {circle} → {addresses[-1]}")
    return refused(f"{addresses[0]} redirects more than {MOST_REDIRECTS} times, at last to {addresses[-1]}")


def _refusal(head: Head, url: HttpUrl) -> SourceError:
    text = (
        f"the server answers {head.status} {mask_text(head.reason)[:80]}".strip() + f" to {mask_url(url.url)}"
    )
    if head.status == 401:
        offers = head.all("www-authenticate")
        if offers and not any(offer.lower().startswith("basic") for offer in offers):
            text += "; it wants another login than Basic, which cannot be given"
        else:
            text += "; give the right user and password in the address (https://user:password@host/…)"
    elif head.status in _REDIRECTS:
        text += " and does not say where to"
    elif head.status in (204, 205):
        text += ", which has no content"
    return ErrorAnswer(head.status, text)
