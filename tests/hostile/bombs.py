"""Small files that claim to be large: an honest MP4 whose boxes say something else."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_NESTED = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}
#: Changes what is in a box.
Change = Callable[[bytes], bytes]


def changed(mp4: bytes, changes: Mapping[bytes, Change]) -> bytes:
    """The file with boxes of these types changed, in all tracks."""
    made, at = [], 0
    while at + 8 <= len(mp4):
        size, kind = struct.unpack_from(">I4s", mp4, at)
        body = mp4[at + 8 : at + size]
        if kind in _NESTED:
            body = changed(body, changes)
        if (change := changes.get(kind)) is not None:
            body = change(body)
        made.append(struct.pack(">I4s", len(body) + 8, kind) + body)
        at += size
    return b"".join(made)


def samples(count: int) -> dict[bytes, Change]:
    """So many samples of one byte, all in one chunk."""
    return {
        b"stts": lambda _: struct.pack(">4I", 0, 1, count, 1),
        b"stsz": lambda _: struct.pack(">3I", 0, 1, count),
        b"stsc": lambda _: struct.pack(">5I", 0, 1, 1, count, 1),
        b"stss": lambda _: struct.pack(">3I", 0, 1, 1),
    }


def chunks(count: int) -> dict[bytes, Change]:
    """Tables that claim so many entries and end after a few."""
    return {
        b"stco": lambda body: struct.pack(">2I", 0, count) + body[8:],
        b"stsz": lambda body: struct.pack(">3I", 0, 0, count) + body[12:],
        b"stts": lambda body: struct.pack(">2I", 0, count) + body[8:],
    }


def edits(count: int) -> dict[bytes, Change]:
    """An edit list of so many entries, each of which plays a little of the media."""
    entries = b"".join(struct.pack(">IiI", 1, n % 1000, 1 << 16) for n in range(count))
    return {b"edts": lambda _: struct.pack(">I4sII", 16 + len(entries), b"elst", 0, count) + entries}


def pictures(across: int, down: int) -> dict[bytes, Change]:
    """Pictures of so many macroblocks: another parameter set in the place of the track's."""

    def change(body: bytes) -> bytes:
        if b"avcC" not in body:
            return body
        at = body.index(b"avcC") + 4 + 6
        (length,) = struct.unpack_from(">H", body, at)
        unit = _parameter_set(across, down)
        assert len(unit) <= length
        return body[: at + 2] + unit.ljust(length, b"\0") + body[at + 2 + length :]

    return {b"stsd": change}


@dataclass
class _Bits:
    text: str = field(default="")

    def u(self, count: int, value: int) -> None:
        self.text += format(value, f"0{count}b")

    def ue(self, *values: int) -> None:
        for value in values:
            code = format(value + 1, "b")
            self.text += "0" * (len(code) - 1) + code

    def unit(self) -> bytes:
        padded = self.text + "1" + "0" * (-(len(self.text) + 1) % 8)
        return int(padded, 2).to_bytes(len(padded) // 8, "big")


def _parameter_set(across: int, down: int) -> bytes:
    """A sequence parameter set of the baseline profile (H.264 7.3.2.1.1), without emulation prevention:
    nothing in it needs any."""
    bits = _Bits()
    bits.u(32, 0x67 << 24 | 66 << 16 | 0xC0 << 8 | 62)
    bits.ue(0, 0, 2, 1)  # id, bits of frame numbers, picture order, reference frames
    bits.u(1, 0)
    bits.ue(across - 1, down - 1)
    bits.u(4, 0b1100)  # frames only, direct 8x8, no cropping, no VUI
    return bits.unit()
