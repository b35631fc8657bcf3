"""The clips of the acceptance tests, made by the ffmpeg of the system: an encoder that is not ours."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

FRAME_RATE = 25
LONG_GOP_S = 10


@dataclass(frozen=True)
class Clips:
    folder: Path
    long_gop: Path  #: 40 s, a key frame every 10 s
    short: Path  #: 6 s, a key frame every second
    hevc: Path
    b_frames: Path
    second: Path  #: 4 s in another size
    page: Path  #: HTML that calls itself a clip


def make_clips(folder: Path) -> Clips:
    h264 = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-b:v", "800k"]
    clips = Clips(
        folder=folder,
        long_gop=_make(folder / "long.mp4", 40, [*h264, "-g", str(LONG_GOP_S * FRAME_RATE)]),
        short=_make(folder / "short.mp4", 6, [*h264, "-g", str(FRAME_RATE)]),
        hevc=_make(
            folder / "hevc.mp4",
            1,
            ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"],
        ),
        b_frames=_make(folder / "b.mp4", 2, ["-c:v", "libx264", "-preset", "veryfast", "-bf", "2"]),
        second=_make(folder / "second.mp4", 4, [*h264, "-g", "25", "-vf", "scale=320:240,setsar=1"]),
        page=folder / "page.mp4",
    )
    for name in ("short.flv", "short.ts"):
        _remux(clips.short, folder / name)
    _remux(clips.short, folder / "short.m4a", "-vn")
    _remux(clips.short, folder / "silent.mp4", "-an")
    _run("-i", str(clips.short), "-vn", "-c:a", "libmp3lame", str(folder / "short.mp3"))
    _remux(clips.short, folder / "vod.m3u8", "-hls_time", "2", "-hls_list_size", "0")
    clips.page.write_text("<!doctype html><title>not a clip</title>" + "<p>nothing to see</p>" * 100)
    return clips


def make_flashes(path: Path, seconds: int) -> Path:
    """Small and dark but for a flash with a beep at each full second, where the key frames are, too."""
    picture = f"testsrc2=size=320x180:rate={FRAME_RATE},lutyuv=y=val/4"
    picture += ",drawbox=color=white:thickness=fill:enable='lt(mod(t,1),0.08)'"
    sound = "aevalsrc='0.7*sin(2000*PI*t)*lt(mod(t,1),0.08)':sample_rate=44100:channel_layout=stereo"
    command = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, "-t", str(seconds)]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-b:v", "300k"]
    command += ["-g", str(FRAME_RATE), "-sc_threshold", "0", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    _run(*command, "-movflags", "+faststart", str(path))
    return path


def _remux(source: Path, target: Path, *options: str) -> None:
    _run("-i", str(source), "-c", "copy", *options, str(target))


def _run(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", *arguments], check=True, stdin=subprocess.DEVNULL)


def _make(path: Path, seconds: int, video: list[str]) -> Path:
    """A test picture with a moving part and a tone; scene cuts never make key frames of their own."""
    command = ["-f", "lavfi", "-i", f"testsrc2=size=640x360:rate={FRAME_RATE}"]
    command += ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100", "-t", str(seconds)]
    command += [*video, "-sc_threshold", "0", "-pix_fmt", "yuv420p", "-c:a", "aac", "-ac", "2"]
    _run(*command, "-movflags", "+faststart", str(path))
    return path
