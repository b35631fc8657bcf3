"""Transport-wide congestion feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01), receiver's side.

Senders number all packets of a transport in a header extension. We report when each arrived, and they
estimate the bandwidth from that. Without feedback, browsers lower their bitrate and never raise it. Pure:
time is an argument.

One call reports at most the newest `_MOST_SPAN` numbers, whatever the sender does. Older numbers are never
reported, as if their feedback packets had been lost.
"""

import struct
from collections.abc import Sequence

_HEAD = struct.Struct("!BBHIIHHI")
_FORMAT, _RTPFB = 15, 205
_TICK_US, _REFERENCE_US = 250, 64_000
_NOT_RECEIVED, _SMALL, _LARGE = range(3)
_MOST_RUN = 0x1FFF
#: Arrivals in one feedback packet, which then stays below the MTU even with the largest deltas.
_MOST_NUMBERS = 350
#: How many numbers are remembered behind the newest, for packets that arrive after their feedback was due.
_MEMORY = 1000
#: Numbers that one call reports: three times as many as the fastest sender may use between two calls.
_MOST_SPAN = 2000
_MOST_PACKETS = 32


class TransportFeedback:
    """The feedback of one transport. Times are microseconds."""

    def __init__(self) -> None:
        self._arrivals: dict[int, int] = {}  #: by extended number
        self._highest: int | None = None
        self._start = 0  #: the number that the next feedback begins with
        self._unreported = False  #: something arrived since the last feedback
        self._count = 0

    def on_packet(self, number: int, now_us: int) -> None:
        """A packet with this number (16 bit) arrived."""
        highest = self._highest
        if highest is None:
            extended = self._start = self._highest = number
        else:
            extended = highest + ((number - highest + 0x8000) & 0xFFFF) - 0x8000
            if extended > highest:
                self._highest = extended
                if extended - highest > _MOST_SPAN:  # a sender that restarted, or was away
                    self._arrivals.clear()
                    self._start = extended
            elif extended < highest - _MEMORY or extended in self._arrivals:
                return
            elif extended < self._start:
                self._start = extended
        self._arrivals[extended] = now_us
        self._unreported = True

    def packets(self, sender: int, media: int) -> list[bytes]:
        """RTCP packets about all that arrived since the last call; none if nothing did. `sender` and `media`
        are SSRCs."""
        if not self._unreported or self._highest is None:
            return []
        made: list[bytes] = []
        end = self._highest + 1
        at = max(self._start, end - _MOST_SPAN)
        while at < end and len(made) < _MOST_PACKETS:
            packet, at = self._packet(at, end, sender, media)
            made.append(packet)
        self._start, self._unreported = end, False
        if len(self._arrivals) > 2 * _MEMORY:
            self._arrivals = {n: us for n, us in self._arrivals.items() if n >= end - _MEMORY}
        return made

    def _packet(self, start: int, end: int, sender: int, media: int) -> tuple[bytes, int]:
        """One feedback packet about the numbers from `start` on, and the number that the next begins with."""
        symbols: list[int] = []
        deltas: list[bytes] = []
        reference = clock_us = None
        for number in range(start, end):
            arrival_us = self._arrivals.get(number)
            if arrival_us is None:
                symbols.append(_NOT_RECEIVED)
                continue
            if clock_us is None:
                reference = arrival_us // _REFERENCE_US
                clock_us = reference * _REFERENCE_US
            delta = (arrival_us - clock_us + _TICK_US // 2) // _TICK_US
            if not -0x8000 <= delta < 0x8000 or len(deltas) == _MOST_NUMBERS:
                break
            clock_us += delta * _TICK_US
            symbols.append(_SMALL if 0 <= delta <= 0xFF else _LARGE)
            deltas.append(bytes((delta,)) if 0 <= delta <= 0xFF else delta.to_bytes(2, "big", signed=True))
        body = b"".join((*status_chunks(symbols), *deltas))
        padding = -len(body) % 4
        if padding:
            body += bytes(padding - 1) + bytes((padding,))
        time_and_count = ((reference or 0) & 0xFFFFFF) << 8 | self._count
        self._count = (self._count + 1) & 0xFF
        head = _HEAD.pack(
            0xA0 | _FORMAT if padding else 0x80 | _FORMAT,
            _RTPFB,
            4 + len(body) // 4,
            sender,
            media,
            start & 0xFFFF,
            len(symbols),
            time_and_count,
        )
        return head + body, start + len(symbols)


def status_chunks(symbols: Sequence[int]) -> list[bytes]:
    """Section 3.1.2: run length chunks of one symbol, or vector chunks of 14 one-bit or 7 two-bit symbols."""
    chunks: list[bytes] = []
    at, end = 0, len(symbols)
    while at < end:
        symbol = symbols[at]
        run = at + 1
        while run < end and symbols[run] == symbol and run - at < _MOST_RUN:
            run += 1
        if run - at >= 7 or run == end:
            chunk, at = symbol << 13 | run - at, run
        elif _LARGE not in symbols[at : at + 14]:
            chunk, at = 0x8000 | _vector(symbols[at : at + 14], 14, 1), at + 14
        else:
            chunk, at = 0xC000 | _vector(symbols[at : at + 7], 7, 2), at + 7
        chunks.append(chunk.to_bytes(2, "big"))
    return chunks


def _vector(symbols: Sequence[int], count: int, bits: int) -> int:
    """The symbols from the highest bits down; unused bits are zeros, which receivers ignore."""
    value = 0
    for n, symbol in enumerate(symbols):
        value |= symbol << bits * (count - 1 - n)
    return value
