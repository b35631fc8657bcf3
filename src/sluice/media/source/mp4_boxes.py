"""Finds what keeps an MP4 from being opened, in its top-level boxes (ISO/IEC 14496-12 4.2)."""

import io

from sluice.media.source.sniff import ByteFile, read_up_to

_FIRST = frozenset({b"ftyp", b"mdat", b"moov", b"wide", b"free", b"skip"})
_INDEX, _FRAGMENTS = b"moov", frozenset({b"moof", b"styp"})
_LEAST_HEAD, _HEAD = 8, 16
_MOST_BOXES = 100
_NO_INDEX = "the file is cut short: its index (moov) is missing, which stands at its end; get it whole"
_HALF_AN_INDEX = "the file is cut short: it ends in the middle of its index (moov); get it whole"
_UNFINISHED = "the file has no index (moov): what made it did not come to its end"


def fault_of_mp4(head: bytes, file: ByteFile) -> str:
    """The fault in words; empty where the file is no MP4, or its boxes are right. `head`: its first bytes.
    Raises what the file raises."""
    if head[4:8] not in _FIRST:
        return ""
    if not file.seekable():  # it was read to its end, and there is no way back
        return "" if _INDEX in head or b"moof" in head else _NO_INDEX
    at, end = 0, file.seek(0, io.SEEK_END)
    for _ in range(_MOST_BOXES):
        if at >= end:
            return _UNFINISHED
        file.seek(at)
        head = read_up_to(file, _HEAD)
        size, name = int.from_bytes(head[:4], "big"), head[4:8]
        size = int.from_bytes(head[8:16], "big") if size == 1 else size
        cut = len(head) < _LEAST_HEAD or at + size > end
        if name == _INDEX:
            return _HALF_AN_INDEX if cut else ""
        if cut or size == 0:
            return _NO_INDEX
        if size < _LEAST_HEAD or name in _FRAGMENTS:
            break
        at += size
    return ""
