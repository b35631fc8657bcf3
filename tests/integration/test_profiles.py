"""Pictures that not all browsers show are converted, from where they begin on."""

from pathlib import Path
from typing import Any, cast

from sluice.core.plan import TrackAction
from sluice.core.tasks import RelaySpec, StreamMode
from sluice.media.pipe.tracks import Tracks
from sluice.media.source.containers import container_for
from sluice.media.source.sniff import SniffedFile
from sluice.process.link import FrameType
from sluice.wire.h264 import NAL_SPS, Sps, split_avcc
from tests.integration.numbered import RATE, ffmpeg

_HIGH_10 = 110


def _make(path: Path, pixels: str, at_s: int) -> bytes:
    """Two seconds as a transport stream."""
    x264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", str(RATE), "-pix_fmt", pixels)
    source = ("-f", "lavfi", "-i", f"testsrc2=size=160x90:rate={RATE}", "-t", "2")
    ffmpeg(*source, *x264, "-output_ts_offset", str(at_s), path)
    return path.read_bytes()


def test_a_profile_that_comes_in_mid_stream_is_converted(tmp_path: Path) -> None:
    path = tmp_path / "both.ts"
    path.write_bytes(_make(tmp_path / "a.ts", "yuv420p", 0) + _make(tmp_path / "b.ts", "yuv420p10le", 2))
    profiles, pictures = [], 0
    with path.open("rb") as file:
        demuxer = container_for(SniffedFile(cast(Any, file)))
        tracks = Tracks(RelaySpec("http://h/", stream_mode=StreamMode.COPY), demuxer.open())
        plans = [tracks.plan.video]
        frames = []
        while (packet := demuxer.next()) is not None:
            frames += tracks.push(packet)
        frames += tracks.flush()
        demuxer.close()
        plans.append(tracks.plan.video)
    for frame in frames:
        if frame.type is FrameType.VIDEO:
            pictures += 1
            sets = [unit for unit in split_avcc(frame.payload, 4) if unit[0] & 0x1F == NAL_SPS]
            profiles += [Sps.parse(unit).profile_idc for unit in sets]
    assert _HIGH_10 not in profiles
    assert len(profiles) >= 3, "both halves begin with key frames"
    assert pictures >= 4 * RATE - 2
    assert [plan.action for plan in plans] == [TrackAction.COPY, TrackAction.TRANSCODE]
    assert "High 10" in plans[1].why
