"""The clip that the origins serve, made once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sluice.media.source import hls_rendition
from tests.integration.hls.origin import COUNT
from tests.integration.numbered import ffmpeg, make_clip, numbers_of


@pytest.fixture(scope="package")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Segments of a second: `t0.ts`, …, `m0.m4s`, … with `init.mp4`, and `v0.ts`, …, `a0.ts`, … apart."""
    folder = tmp_path_factory.mktemp("clip")
    base = folder / "base.mp4"
    make_clip(base, COUNT)
    for name, ending, options in (
        ("t", "ts", []),
        ("m", "m4s", ["-hls_segment_type", "fmp4"]),
        ("v", "ts", ["-an"]),
        ("a", "ts", ["-vn"]),
    ):
        names = ["-hls_segment_filename", str(folder / f"{name}%d.{ending}")]
        hls = ["-c", "copy", "-f", "hls", "-hls_time", "1", "-hls_playlist_type", "vod"]
        ffmpeg("-i", base, *hls, *options, *names, folder / f"{name}.m3u8")
    return folder


@pytest.fixture(scope="package")
def numbers(clip: Path) -> dict[str, int]:
    """The pictures of the clip."""
    return numbers_of([clip / f"t{n}.ts" for n in range(COUNT)])


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hls_rendition, "_PAUSES_S", (0.05, 0.1))


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads
