"""Finds where a byte stream continues as another container, which FFmpeg must open anew. No IO.

PyAV sees only the streams that were there when it opened a container. Therefore a transport stream is cut
where its program map names other streams (ISO/IEC 13818-1 2.4.4.8), and a chained Ogg file at each link (RFC
3533 4). Each piece is opened as a container of its own.
"""

from typing import Protocol

_PACKET, _SYNC = 188, b"\x47"
_SCRAMBLED = 0x40  #: transport_scrambling_control in the fourth byte, which is not 0 (2.4.3.3)
_IS_SCRAMBLED = "the transport stream is scrambled (conditional access), at least in parts; there is no key"
_PAT, _PMT_TABLE = 0, 2
_NULL_PID, _LAST_TABLE_PID = 0x1FFF, 0x1F  #: 2.4.3.3, table 2-3, with the tables of DVB
_SECTION_HEADER, _LONGEST_SECTION = 3, 1024
_MOST_PROGRAMS = 64
_PAGE, _PAGE_HEADER = b"OggS", 27
_BEGINS_STREAM = 0x02  #: flag of the first page of a logical stream


class Split(Protocol):
    """Takes the bytes of one file, and says where to cut."""

    prefix: bytes  #: what the next container needs before its own bytes
    note: str  #: what people should know of the bytes that were fed; empty as a rule

    def feed(self, data: bytes) -> int | None:
        """Takes the next bytes, in order. Returns the offset in `data` where the next container begins, None
        if none does. The bytes from there on are to be fed again; `prefix` has the bytes of the next
        container that earlier calls brought."""
        ...

    def jumped(self) -> None:
        """The bytes that are fed next come from another position of the file."""
        ...


class TsSplit:
    """Cuts where a program map names streams that were not there, or a new program comes up."""

    def __init__(self) -> None:
        self.prefix, self.note = b"", ""
        self.idle = False  #: the last call of `feed` brought only null packets and tables
        self.barren = True  #: and so did all calls
        self._carry = b""
        self._pat = b""  #: the packet with the newest program association table
        self._maps: frozenset[int] = frozenset()  #: PIDs of the program maps that the newest table names
        self._first_maps: frozenset[int] | None = None
        self._streams: dict[int, frozenset[tuple[int, int]]] = {}  #: type and PID, by map
        self._sections: dict[int, bytearray] = {}

    @property
    def programs(self) -> list[frozenset[int]]:
        """PIDs of the streams of each program, in the order in which their maps came."""
        return [frozenset(pid for _, pid in streams) for streams in self._streams.values()]

    def jumped(self) -> None:
        self._carry = b""
        self._sections.clear()

    def feed(self, data: bytes) -> int | None:
        block = self._carry + data
        start, count = 0, len(block) // _PACKET
        if block[: count * _PACKET : _PACKET].strip(_SYNC):  # a sync byte is not where it should be
            start = _resync(block)
            count = (len(block) - start) // _PACKET
        end = start + count * _PACKET
        if not self.note and max(block[start + 3 : end : _PACKET], default=0) >= _SCRAMBLED:
            self.note = _IS_SCRAMBLED
        fed_before = len(self._carry)
        self._carry = block[end:]
        at = self._next_table(block, start, end)
        while at < end:
            if self._take(block[at : at + _PACKET]):
                self.prefix = self._pat + block[at:fed_before]
                self._carry = block[at:fed_before]
                return max(0, at - fed_before)
            at = self._next_table(block, at + _PACKET, end)
        if count:
            self.idle = self._is_idle(block[start + 1 : end : _PACKET], block[start + 2 : end : _PACKET])
            self.barren = self.barren and self.idle
        return None

    def _is_idle(self, high: bytes, low: bytes) -> bool:
        if not self.barren and low.count(_NULL_PID & 0xFF) < len(low) // 2:
            return False  # the usual case, found quickly
        pids = {(a & 0x1F) << 8 | b for a, b in zip(high, low, strict=True)}
        return all(pid == _NULL_PID or pid <= _LAST_TABLE_PID or pid in self._maps for pid in pids)

    def _next_table(self, block: bytes, start: int, end: int) -> int:
        """Where the next packet of a program table begins; the end where there is none."""
        high, low = block[start + 1 : end : _PACKET], block[start + 2 : end : _PACKET]
        first = len(low)
        for pid in (_PAT, *self._maps):
            wanted, n = pid & 0xFF, -1
            while (n := low.find(wanted, n + 1, first)) >= 0:
                if high[n] & 0x1F == pid >> 8:
                    first = n
        return min(end, start + first * _PACKET)

    def _take(self, packet: bytes) -> bool:
        """True where the next container begins with this packet."""
        pid = (packet[1] & 0x1F) << 8 | packet[2]
        payload = packet[5 + packet[4] if packet[3] & 0x20 else 4 :]
        if packet[1] & 0x40 and payload:  # a section begins behind the pointer
            self._sections[pid] = bytearray(payload[1 + payload[0] :])
        elif pid in self._sections:
            self._sections[pid] += payload
        section = bytes(self._sections.get(pid, b""))
        if len(section) < _SECTION_HEADER:
            return False
        length = _SECTION_HEADER + ((section[1] & 0x0F) << 8 | section[2])
        if len(section) < length <= _LONGEST_SECTION:
            return False
        del self._sections[pid]
        if length > _LONGEST_SECTION:
            return False
        if pid == _PAT:
            self._pat = packet
            self._maps = frozenset(_maps(section[:length]))
            self._first_maps = self._first_maps or self._maps
            return False
        return section[0] == _PMT_TABLE and self._take_map(pid, _streams(section[:length]))

    def _take_map(self, pid: int, streams: frozenset[tuple[int, int]]) -> bool:
        """Takes a program map. True where it names streams that were not there, or is of a new program."""
        known = self._streams.get(pid)
        if known is None and (not self._streams or pid in (self._first_maps or ())):
            self._streams[pid] = streams
            return False
        if known is not None and streams <= known:
            return False
        self._streams = {pid: streams}
        self._first_maps = self._maps
        return True


class OggSplit:
    """Cuts where a page begins a logical stream after pages that carry media."""

    def __init__(self) -> None:
        self.prefix, self.note = b"", ""
        self._carry = b""
        self._skip = 0  #: bytes of the current page that are still to come
        self._media = False

    def jumped(self) -> None:
        self._carry, self._skip = b"", 0

    def feed(self, data: bytes) -> int | None:
        block, fed_before = self._carry + data, len(self._carry)
        at = self._skip
        while at + _PAGE_HEADER <= len(block):
            if not block.startswith(_PAGE, at):
                found = block.find(_PAGE, at)
                at = found if found >= 0 else len(block) - len(_PAGE) + 1
                if found < 0:
                    break
                continue
            body = at + _PAGE_HEADER + block[at + _PAGE_HEADER - 1]
            if body > len(block):
                break
            if block[at + 5] & _BEGINS_STREAM:
                if self._media:
                    self.prefix = block[at:fed_before]
                    self._carry, self._skip, self._media = self.prefix, 0, False
                    return max(0, at - fed_before)
            elif block[at + 6 : at + 14].strip(b"\0"):  # its granule position is not that of headers
                self._media = True
            at = body + sum(block[at + _PAGE_HEADER : body])
        self._skip = max(0, at - len(block))
        self._carry = block[at:]
        return None


def _maps(section: bytes) -> list[int]:
    """The PIDs of the program maps that an association table names (2.4.4.3); program 0 is the network."""
    entries = (section[at : at + 4] for at in range(8, len(section) - 7, 4))
    return [(e[2] & 0x1F) << 8 | e[3] for e in entries if e[0] or e[1]][:_MOST_PROGRAMS]


def _streams(section: bytes) -> frozenset[tuple[int, int]]:
    """Type and PID of the elementary streams of a program map (2.4.4.8)."""
    if len(section) < 16:
        return frozenset()
    found: set[tuple[int, int]] = set()
    at, end = 12 + ((section[10] & 0x0F) << 8 | section[11]), len(section) - 4
    while at + 5 <= end:
        found.add((section[at], (section[at + 1] & 0x1F) << 8 | section[at + 2]))
        at += 5 + ((section[at + 3] & 0x0F) << 8 | section[at + 4])
    return frozenset(found)


def _resync(block: bytes) -> int:
    """Where packets begin, judged by two sync bytes; the end when there are none."""
    at = block.find(_SYNC)
    while at >= 0 and at + _PACKET < len(block) and block[at + _PACKET : at + _PACKET + 1] != _SYNC:
        at = block.find(_SYNC, at + 1)
    return at if at >= 0 else len(block)
