"""The timestamp that packed audio carries in an ID3 tag (RFC 8216bis 3.1.4, ID3v2.3 and 2.4)."""

_HEADER = 10
_OWNER = b"com.apple.streaming.transportStreamTimestamp\0"
_MASK_33 = (1 << 33) - 1
#: A longer tag is not read.
MOST_BYTES = 64 * 1024


def tag_bytes(head: bytes) -> int:
    """Length of the tag at the beginning, in bytes and with its header; 0 without a tag."""
    if len(head) < _HEADER or head[:3] != b"ID3":
        return 0
    return _HEADER + _synchsafe(head[6:10]) + (_HEADER if head[5] & 0x10 else 0)


def timestamp_us(tag: bytes) -> int | None:
    """The timestamp of a complete tag, in microseconds on the clock of transport streams, if it has one."""
    end, at = min(len(tag), tag_bytes(tag)), _HEADER
    if tag[5:6] and tag[5] & 0x40:  # an extended header
        size = _synchsafe(tag[10:14]) if tag[3] == 4 else int.from_bytes(tag[10:14], "big") + 4
        at += size
    while at + _HEADER <= end and tag[at]:
        raw = tag[at + 4 : at + 8]
        size = _synchsafe(raw) if tag[3] == 4 else int.from_bytes(raw, "big")
        body = tag[at + _HEADER : at + _HEADER + size]
        if tag[at : at + 4] == b"PRIV" and body.startswith(_OWNER) and len(body) >= len(_OWNER) + 8:
            ticks = int.from_bytes(body[len(_OWNER) :][:8], "big") & _MASK_33
            return ticks * 100 // 9
        at += _HEADER + size
    return None


def _synchsafe(raw: bytes) -> int:
    value = 0
    for byte in raw:
        value = value << 7 | byte & 0x7F
    return value
