"""A file through the pipes of a relay, as fast as it goes, and what is seen of it in its own time."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from sluice.core.plan import Plan
from sluice.core.tasks import RelaySpec, StreamMode
from sluice.core.vitals import Look, PictureWatch, SoundWatch
from sluice.media.packets import TrackKind
from sluice.media.pipe.frames import OutFrame
from sluice.media.pipe.tracks import Tracks
from sluice.media.source.containers import container_for
from sluice.media.source.sniff import SniffedFile


@dataclass
class Story:
    """When (seconds of media time) each state began to be said. The level is that of all. `looking_s`: CPU
    time of decoding pictures."""

    plan: Plan
    video: list[tuple[float, str]] = field(default_factory=list)
    audio: list[tuple[float, str]] = field(default_factory=list)
    level_dbfs: float | None = None
    looking_s: float = 0.0


def story_of(path: Path, mode: StreamMode, *, seconds: float | None = None) -> Story:
    """What is said of a file; of so many seconds of it, for which it is played over and over."""
    spec = RelaySpec("http://host/", stream_mode=mode, width=160, height=90, frame_rate=5)
    pictures, sound, tracks, base_us, end_us = PictureWatch(), SoundWatch(), None, 0, 0
    story: Story | None = None
    over = False
    while not over:
        with path.open("rb") as file:
            demuxer = container_for(SniffedFile(cast(Any, file)))
            probe = demuxer.open()
            tracks = tracks or Tracks(spec, probe)
            story = story or Story(tracks.plan)
            while not over and (packet := demuxer.next()) is not None:
                packet.shift(base_us - demuxer.first_us)
                end_us = max(end_us, packet.dts_us + 20_000)
                over = seconds is not None and end_us > seconds * 1e6
                for frame in tracks.push(packet):
                    _judge(story, frame, pictures, sound)
            tracks.flush()
            demuxer.close()
        base_us, over = end_us, over or seconds is None
    assert story is not None
    assert tracks is not None
    story.level_dbfs = sound.take_level(end_us / 1e6)
    story.looking_s = tracks.counts().decode_s.get(TrackKind.VIDEO, 0.0)
    return story


def _judge(story: Story, frame: OutFrame, pictures: PictureWatch, sound: SoundWatch) -> None:
    at_s = frame.media_us / 1e6
    if isinstance(frame.seen, Look):
        if pictures.see(frame.seen, at_s) and (signal := pictures.signal(at_s)):
            story.video.append((at_s, signal.state))
    elif frame.seen is not None and sound.hear(frame.seen, at_s) and (signal := sound.signal(at_s)):
        story.audio.append((at_s, signal.state))
