"""What demuxers leave out, and what keeps them from playing anything, in words."""

import io
from itertools import chain, repeat
from pathlib import Path

import pytest

from sluice.core.errors import SourceError
from sluice.core.plan import Probe
from sluice.media.source import cut_file, flv
from sluice.media.source.containers import container_for
from sluice.media.source.sniff import SniffedFile
from tests.integration.numbered import ffmpeg

_NULLS = (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 100
_PICTURE = ["-f", "lavfi", "-i", "testsrc=size=64x64:rate=25"]
_SOUNDS = [part for tone in (440, 880) for part in ("-f", "lavfi", "-i", f"sine={tone}:sample_rate=48000")]
_CODECS = [
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-bf",
    "0",
    "-pix_fmt",
    "yuv420p",
    "-c:a",
    "aac",
    "-t",
    "1",
]


class Endless(io.RawIOBase):
    """Blocks one behind the other, for ever."""

    def __init__(self, first: bytes, block: bytes) -> None:
        self._blocks, self._left, self._at = chain([first], repeat(block)), b"", 0

    def read(self, size: int = -1) -> bytes:
        self._left = self._left or next(self._blocks)
        data, self._left = self._left[:size], self._left[size:]
        self._at += len(data)
        return data

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return False


def _opened(data: bytes) -> tuple[Probe, list[str]]:
    demuxer = container_for(SniffedFile(io.BytesIO(data)))
    try:
        return demuxer.open(), demuxer.notes.take()
    finally:
        demuxer.close()


def _refused(file: SniffedFile, *, live: bool = False) -> SourceError:
    demuxer = container_for(file, live=live)
    try:
        with pytest.raises(SourceError) as raised:
            demuxer.open()
    finally:
        demuxer.close()
    return raised.value


@pytest.mark.parametrize("ending", ["ts", "mp4", "mkv"])
def test_further_tracks_are_told(tmp_path: Path, ending: str) -> None:
    maps = ["-map", "0", "-map", "1", "-map", "2", "-map", "2", "-map", "0"]
    ffmpeg(*_PICTURE, *_SOUNDS, *maps, *_CODECS, tmp_path / f"a.{ending}")
    probe, notes = _opened((tmp_path / f"a.{ending}").read_bytes())
    assert probe.video is not None
    assert probe.audio is not None
    assert notes == ["1 further picture track is left out", "2 further sound tracks are left out"]


@pytest.mark.parametrize("silent", [False, True])
def test_one_program_of_a_transport_stream_is_played(tmp_path: Path, silent: bool) -> None:
    """The one that has most, also where the sound of another comes first; not one that is silent."""
    maps = ["-map", "2", "-map", "0", "-map", "1"]
    programs = ["-program", "title=radio:st=0", "-program", "title=television:st=1:st=2"]
    ffmpeg(*_PICTURE, *_SOUNDS, *maps, *_CODECS, "-ac:a:0", "1", "-ac:a:1", "2", *programs, tmp_path / "a.ts")
    data = (tmp_path / "a.ts").read_bytes()
    if silent:  # the television has the second PID and the third
        packets = [data[at : at + 188] for at in range(0, len(data), 188)]
        data = b"".join(packet for packet in packets if (packet[1] & 0x1F, packet[2]) not in ((1, 1), (1, 2)))
    probe, notes = _opened(data)
    assert (probe.video is None) is silent
    assert probe.audio is not None
    assert probe.audio.channels == (1 if silent else 2)
    assert notes == ["1 further program is left out"]


def test_null_packets_are_not_waited_on_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_file, "_MOST_IDLE_S", 0.0)
    error = _refused(SniffedFile(Endless(b"", _NULLS)), live=True)
    assert "nothing but null packets" in str(error)
    assert error.transient


def test_a_file_of_null_packets_is_told() -> None:
    error = _refused(SniffedFile(io.BytesIO(_NULLS * 20)))
    assert "nothing but null packets" in str(error)
    assert not error.transient


@pytest.mark.parametrize("live", [False, True])
def test_flv_without_sequence_headers_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, live: bool
) -> None:
    monkeypatch.setattr(flv, "_MOST_LACKING_S", 0.05)
    ffmpeg(*_PICTURE, *_SOUNDS, "-map", "0", "-map", "1", *_CODECS, tmp_path / "a.flv")
    whole = (tmp_path / "a.flv").read_bytes()
    head, tags = whole[:13], b""
    at = len(head)
    while at + 11 < len(whole):
        end = at + 15 + int.from_bytes(whole[at + 1 : at + 4], "big")
        if whole[at] in (8, 9) and whole[at + 12] != 0:
            tags += whole[at:end]
        at = end
    file = Endless(head, tags) if live else io.BytesIO(head + tags)
    error = _refused(SniffedFile(file), live=live)
    assert "AAC and H.264 came without a sequence header" in str(error)
    assert error.transient is live
