"""Recognizes the form of a segment by its first bytes, and whether it ends where it should. No IO.

Servers answer with pages, with half a segment, or with one that cannot be decrypted. A demuxer that gets such
bytes between others may swallow all that follow.
"""

from enum import Enum

HEAD_BYTES = 3 * 204
#: Sizes of packets of transport streams: plain, with a timestamp in front, with parity behind.
_PACKETS = (188, 192, 204)
_SYNC = 0x47
_NULL_PID, _BEGINS, _HAS_PAYLOAD = 0x1FFF, 0x40, 0x10
_BOXES = frozenset(
    b"ftyp styp moov moof sidx ssix emsg prft free skip mdat uuid mfra pssh pdin wide".split(b" ")
)
_BOX_HEAD = 8


class Form(Enum):
    """What a segment is made of."""

    TS = "ts"
    MP4 = "mp4"
    AUDIO = "audio"  #: packed: frames of one track, with an ID3 tag before them
    TEXT = "text"  #: a page, another playlist, a message
    OTHER = "other"  #: whatever a demuxer makes of it
    EMPTY = "empty"


def form_of(head: bytes) -> Form:
    """`head`: the first HEAD_BYTES, fewer only if there are no more."""
    if not head:
        return Form.EMPTY
    if head[4:8] in _BOXES:
        return Form.MP4
    if head[:3] == b"ID3" or head[:2] == b"\x0b\x77" or (head[0] == 0xFF and head[1:2] >= b"\xe0"):
        return Form.AUDIO
    if _is_ts(head):
        return Form.TS
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"<", b"{", b"[") or head.startswith(
        (b"#EXTM3U", b"WEBVTT")
    ):
        return Form.TEXT
    return Form.OTHER


def is_torn(head: bytes) -> bool:
    """Whether a segment of a transport stream continues PES packets that the one before began. Then the first
    packet of some stream does not begin one (payload_unit_start_indicator). `head`: the first packets."""
    begun: set[int] = set()
    for at in range(0, len(head) - _PACKETS[0] + 1, _PACKETS[0]):
        if head[at] != _SYNC:
            return True  # packets of another size, which are not examined
        pid = int.from_bytes(head[at + 1 : at + 3], "big") & 0x1FFF
        if pid == _NULL_PID or not head[at + 3] & _HAS_PAYLOAD:
            continue
        if not head[at + 1] & _BEGINS and pid not in begun:
            return True
        begun.add(pid)
    return False


def _is_ts(head: bytes) -> bool:
    if len(head) < 3 * max(_PACKETS):
        return head[0] == _SYNC
    return any(
        head[at] == head[at + size] == head[at + 2 * size] == _SYNC for size in _PACKETS for at in range(size)
    )


class Ending:
    """Follows the bytes of a segment to tell whether it ends in the middle of a box. Only MP4 needs this:
    demuxers of other forms resynchronize by themselves."""

    def __init__(self, form: Form) -> None:
        self._follows = form is Form.MP4
        self._left = 0  #: bytes of the current box that are still to come
        self._head = b""  #: of the next one, too little to tell its size
        self._damaged = False

    def feed(self, data: bytes) -> None:
        if not self._follows or self._left >= len(data):
            self._left -= len(data) if self._follows else 0
            return
        data, at = self._head + data[self._left :], 0
        while self._follows and len(data) - at >= _BOX_HEAD:
            size = int.from_bytes(data[at : at + 4], "big")
            if size == 1:  # ISO/IEC 14496-12 4.2: the size stands behind the type
                if len(data) - at < 2 * _BOX_HEAD:
                    break
                size = int.from_bytes(data[at + _BOX_HEAD : at + 2 * _BOX_HEAD], "big")
            self._follows = size >= _BOX_HEAD  # 0: up to the end
            self._damaged = 0 < size < _BOX_HEAD
            at += size
        self._left, self._head = max(0, at - len(data)), data[at:]

    def is_whole(self) -> bool:
        return not self._damaged and (not self._follows or (self._left == 0 and not self._head))
