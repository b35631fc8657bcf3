"""What keeps an MP4 from being opened, told from its outermost boxes."""

import io

import pytest

from sluice.media.source.mp4_boxes import fault_of_mp4


def _box(name: bytes, size: int, *, left_out: int = 0, large: bool = False) -> bytes:
    head = b"\0\0\0\1" + name + size.to_bytes(8, "big") if large else size.to_bytes(4, "big") + name
    return head.ljust(size, b"\0")[: size - left_out]


_FTYP, _MOOV = _box(b"ftyp", 24), _box(b"moov", 200)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_FTYP + _box(b"mdat", 500) + _MOOV, ""),
        (_FTYP + _MOOV + _box(b"mdat", 500, left_out=300), ""),
        (_FTYP + _box(b"mdat", 500, left_out=100), "cut short: its index (moov) is missing"),
        (_FTYP + _box(b"mdat", 500, large=True, left_out=1), "cut short: its index (moov) is missing"),
        (_FTYP + _box(b"mdat", 500) + b"\0\0", "cut short: its index (moov) is missing"),
        (_FTYP + b"\0\0\0\0mdat" + bytes(50), "cut short: its index (moov) is missing"),
        (_FTYP + _box(b"mdat", 500) + _MOOV[:-1], "in the middle of its index"),
        (_FTYP + _box(b"free", 8) + _box(b"mdat", 500), "has no index (moov)"),
        (_FTYP + _box(b"moof", 100), ""),
        (_FTYP + b"\0\0\0\7mdat", ""),
        (_FTYP + _box(b"free", 8) * 1000, ""),
        (b"\x47" * 188, ""),
        (b"", ""),
    ],
)
def test_a_file_that_can_be_sought_in(data: bytes, words: str) -> None:
    fault = fault_of_mp4(data[:100], io.BytesIO(data))
    assert words in fault
    assert bool(words) == bool(fault)


@pytest.mark.parametrize(
    ("head", "cut"), [(_FTYP + _box(b"mdat", 500), True), (_FTYP + _MOOV, False), (b"ID3" + bytes(20), False)]
)
def test_a_file_that_was_read_to_its_end(head: bytes, cut: bool) -> None:
    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return False

    assert fault_of_mp4(head, Stream()).startswith("the file is cut short" if cut else "") is True
    assert bool(fault_of_mp4(head, Stream())) is cut
