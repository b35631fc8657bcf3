"""Where streams of bytes go on as others: program maps that name other streams, links of a chain."""

import random
from collections.abc import Callable

import pytest

from sluice.media.source.splits import OggSplit, Split, TsSplit


def section(table: int, body: bytes) -> bytes:
    length = len(body) + 4
    return bytes((table, 0xB0 | length >> 8, length & 0xFF)) + body + b"\0\0\0\0"


def packet(pid: int, payload: bytes, *, begins: bool = False) -> bytes:
    head = bytes((0x47, (0x40 if begins else 0) | pid >> 8, pid & 0xFF, 0x10))
    return head + payload.ljust(184, b"\xff")


def pat(*maps: int) -> bytes:
    programs = b"".join(
        (n + 1).to_bytes(2, "big") + (0xE000 | pid).to_bytes(2, "big") for n, pid in enumerate(maps)
    )
    return packet(0, b"\0" + section(0, b"\0\1\xc1\0\0" + programs), begins=True)


def pmt(pid: int, *streams: tuple[int, int]) -> bytes:
    listed = b"".join(bytes((kind,)) + (0xE000 | es).to_bytes(2, "big") + b"\xf0\0" for kind, es in streams)
    return packet(pid, b"\0" + section(2, b"\0\1\xc1\0\0" + b"\xe1\0\xf0\0" + listed), begins=True)


def media(pid: int, count: int = 20) -> bytes:
    return packet(pid, b"media") * count


H264, AAC = 0x1B, 0x0F
FIRST = pat(0x1000) + pmt(0x1000, (H264, 0x100), (AAC, 0x101))
TABLES_AGAIN = FIRST + media(0x100)


def cuts(make: Callable[[], Split], data: bytes, step: Callable[[], int]) -> list[tuple[int, bytes]]:
    """Where it is cut, fed in steps, and what goes in front of each part."""
    split, at, found = make(), 0, []
    while at < len(data):
        chunk = data[at : at + step()]
        cut = split.feed(chunk)
        at += len(chunk) if cut is None else cut
        if cut is not None:
            found.append((at, split.prefix))
    return found


@pytest.mark.parametrize("step", [1, 7, 188, 1316, 100_000])
def test_a_map_with_other_streams_begins_another_container(step: int) -> None:
    other = pmt(0x1000, (H264, 0x200), (AAC, 0x201))
    before = TABLES_AGAIN * 3
    data = before + pat(0x1000) + other + media(0x200)
    ((at, prefix),) = cuts(TsSplit, data, lambda: step)
    whole = prefix + data[at:]
    assert whole.startswith(pat(0x1000) + other)
    assert whole == pat(0x1000) + data[len(before) + 188 :]


def test_a_stream_that_is_named_later_begins_another_container() -> None:
    begin = pat(0x1000) + pmt(0x1000, (H264, 0x100)) + media(0x100)
    data = begin * 2 + FIRST + media(0x100)
    ((at, _),) = cuts(TsSplit, data, lambda: 4096)
    assert at == 2 * len(begin) + 188


@pytest.mark.parametrize(
    "data",
    [
        TABLES_AGAIN * 5,
        TABLES_AGAIN + pat(0x1000) + pmt(0x1000, (H264, 0x100)) + media(0x100) + TABLES_AGAIN,
        pat(0x1000, 0x1001) + pmt(0x1000, (H264, 0x100)) + pmt(0x1001, (H264, 0x300)) + media(0x100),
        b"G" * 10_000,
        b"",
        random.Random(1).randbytes(50_000),
        (TABLES_AGAIN * 3)[:300] + b"lost" + (TABLES_AGAIN * 3)[300:],
    ],
    ids=["repeated", "fewer-and-again", "two-programs", "sync-bytes", "empty", "noise", "torn"],
)
def test_what_is_no_change_is_not_cut(data: bytes) -> None:
    generator = random.Random(2)
    assert cuts(TsSplit, data, lambda: generator.randint(1, 3000)) == []


def page(serial: int, body: bytes, *, first: bool = False, position: int = 0) -> bytes:
    sizes = [*[255] * (len(body) // 255), len(body) % 255]
    head = b"OggS\0" + bytes((2 if first else 0,)) + position.to_bytes(8, "little")
    return head + serial.to_bytes(4, "little") + bytes(8) + bytes((len(sizes), *sizes)) + body


def link(serial: int) -> bytes:
    headers = page(serial, b"head", first=True) + page(serial, b"comments")
    return headers + b"".join(page(serial, b"OggS in the body" * 20, position=n * 960) for n in range(1, 9))


@pytest.mark.parametrize("step", [1, 13, 500, 100_000])
def test_each_link_of_a_chain_is_a_container(step: int) -> None:
    data = link(1) + link(2) + link(3)
    found = cuts(OggSplit, data, lambda: step)
    assert [at - len(prefix) for at, prefix in found] == [len(link(1)), 2 * len(link(1))]


def test_streams_that_begin_together_are_no_chain() -> None:
    data = page(1, b"video", first=True) + page(2, b"audio", first=True) + link(1)[31:]
    assert cuts(OggSplit, data, lambda: 64) == []


def test_null_packets_and_tables_are_no_media() -> None:
    split, nulls = TsSplit(), media(0x1FFF, 50)
    assert split.barren
    for data in (FIRST, nulls, FIRST + nulls, packet(0x11, b"table") + nulls):
        split.feed(data)
        assert (split.idle, split.barren) == (True, True)
    split.feed(media(0x100, 2) + nulls)
    assert (split.idle, split.barren) == (False, False)
    split.feed(nulls)
    assert (split.idle, split.barren) == (True, False)


def test_what_belongs_to_a_program() -> None:
    split = TsSplit()
    split.feed(pat(0x1000, 0x1100) + pmt(0x1000, (H264, 0x100), (AAC, 0x101)) + pmt(0x1100, (H264, 0x200)))
    assert split.programs == [{0x100, 0x101}, {0x200}]


def test_scrambled_packets_are_told() -> None:
    clear, split = pat(0x100) + media(0x101), TsSplit()
    split.feed(clear)
    assert split.note == ""
    scrambled = bytearray(media(0x101))
    scrambled[3] |= 0x80
    split.feed(bytes(scrambled))
    assert "scrambled" in split.note
