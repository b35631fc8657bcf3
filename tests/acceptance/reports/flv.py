"""FLV as a list of tags: what a scripted RTMP server plays, and HTTP-FLV in any order."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

HEAD = b"FLV\x01\x05\0\0\0\x09\0\0\0\0"
AUDIO, VIDEO, SCRIPT = 8, 9, 18


class Tag(NamedTuple):
    """`at_s` is when it is sent, `ms` what it is stamped with."""

    at_s: float
    kind: int
    ms: int
    body: bytes

    @property
    def header(self) -> bool:
        """A sequence header of AVC or AAC."""
        return self.kind != SCRIPT and self.body[1] == 0

    @property
    def key(self) -> bool:
        return self.kind == VIDEO and self.body[0] >> 4 == 1

    def moved(self, at_s: float = 0.0, ms: int = 0) -> "Tag":
        return self._replace(at_s=self.at_s + at_s, ms=self.ms + ms)


def read_tags(path: Path) -> list[Tag]:
    """Each is sent when its stamp says so. Script tags are left out: they tell what is in the whole file."""
    data, at, tags = path.read_bytes(), 13, []
    while at + 11 <= len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        ms = int.from_bytes(data[at + 4 : at + 7], "big") | data[at + 7] << 24
        if data[at] in (AUDIO, VIDEO):
            tags.append(Tag(ms / 1000, data[at], ms, data[at + 11 : at + 11 + size]))
        at += 11 + size + 4
    return [tag for tag in tags if not (tag.kind == VIDEO and tag.body[1] == 2)]


def write_tag(tag: Tag) -> bytes:
    stamp = (tag.ms & 0xFFFFFF).to_bytes(3, "big") + bytes([tag.ms >> 24 & 0xFF])
    head = bytes([tag.kind]) + len(tag.body).to_bytes(3, "big") + stamp + bytes(3)
    return head + tag.body + (11 + len(tag.body)).to_bytes(4, "big")


def write_flv(tags: Iterable[Tag], head: bytes = HEAD) -> bytes:
    return head + b"".join(map(write_tag, tags))
