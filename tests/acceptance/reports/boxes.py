"""The boxes of an MP4: a fragmented file as the parts that a live server sends."""

from collections.abc import Iterator


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and whole bytes of each."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at : at + size]
        at += size


def fragments(data: bytes) -> tuple[bytes, list[bytes]]:
    """The init section, and the fragments."""
    head, parts = b"", []
    for kind, box in boxes(data):
        if kind == b"moof":
            parts.append(box)
        elif kind == b"mdat" and parts:
            parts[-1] += box
        elif not parts:
            head += box
    return head, parts
