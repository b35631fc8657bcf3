"""The clips of the acceptance tests, made by the ffmpeg of the system: an encoder that is not ours."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

FRAME_RATE = 25
LONG_GOP_S = 10

#: A marked clip counts its pictures in three digits to this base, as columns of grey; the fourth column
#: flashes for two pictures where a beep of 80 ms sounds, four times in 4 s and never at equal distances.
_BASE, _BLACK, _STEP, _WHITE = 14, 16, 15, 235
PERIOD_S = 4
FLASHES_S = (0.48, 1.08, 2.08, 3.4)
_FLASH_S = 0.08


@dataclass(frozen=True)
class Clips:
    folder: Path
    long_gop: Path  #: 40 s, a key frame every 10 s
    short: Path  #: 6 s, a key frame every second
    hevc: Path
    b_frames: Path
    second: Path  #: 4 s in another size
    page: Path  #: HTML that calls itself a clip
    marked: Path  #: 100 s, see make_marked


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
        marked=make_marked(folder / "marked.mp4", 100),
    )
    for name in ("short.flv", "short.ts"):
        _remux(clips.short, folder / name)
    _remux(clips.short, folder / "short.m4a", "-vn")
    _remux(clips.short, folder / "silent.mp4", "-an")
    run_ffmpeg("-i", str(clips.short), "-vn", "-c:a", "libmp3lame", str(folder / "short.mp3"))
    _remux(clips.short, folder / "vod.m3u8", "-hls_time", "2", "-hls_list_size", "0")
    (folder / "dash").mkdir()
    _remux(clips.short, folder / "dash/vod.mpd", "-seg_duration", "2")
    loop = make_marked(folder / "loop.mp4", PERIOD_S)
    for name in ("loop.flv", "loop.ts"):
        _remux(loop, folder / name)
    _remux(loop, folder / "loop.m3u8", "-hls_time", "2", "-hls_list_size", "0")
    clips.page.write_text("<!doctype html><title>not a clip</title>" + "<p>nothing to see</p>" * 100)
    return clips


def make_marked(path: Path, seconds: int) -> Path:
    """A clip that tells which picture is which (`read_mark`), and where sound belongs to what picture."""
    frames = [round(at * FRAME_RATE) for at in FLASHES_S]
    flash = "+".join(f"between(mod(N,{PERIOD_S * FRAME_RATE}),{n},{n + 1})" for n in frames)
    digit = f"{_BLACK}+{_STEP}*mod(floor(N/pow({_BASE},X)),{_BASE})"
    picture = f"geq=cb=128:cr=128:lum='if(eq(X,3),if({flash},{_WHITE},{_BLACK}),{digit})'"
    beep = "+".join(f"between(mod(t,{PERIOD_S}),{at},{at + _FLASH_S})" for at in FLASHES_S)
    sound = f"0.1*sin(2*PI*440*t)+0.6*sin(2*PI*2000*t)*({beep})"
    run_ffmpeg(
        *("-f", "lavfi", "-i", f"nullsrc=size=4x2:rate={FRAME_RATE},format=yuv420p,{picture}"),
        *("-f", "lavfi", "-i", f"aevalsrc='{sound}':s=44100", "-t", str(seconds)),
        *("-vf", "scale=320:180:flags=neighbor", "-c:v", "libx264", "-preset", "ultrafast"),
        *("-tune", "zerolatency", "-g", str(FRAME_RATE), "-sc_threshold", "0"),
        *("-c:a", "aac", "-ac", "2", "-movflags", "+faststart", str(path)),
    )
    return path


def read_mark(luma: NDArray[Any]) -> tuple[int, bool]:
    """A marked picture's number, and whether it flashes."""
    height, width = luma.shape
    rows = slice(height // 4, height * 3 // 4)
    columns = [
        luma[rows, width * n // 4 + width // 16 : width * (n + 1) // 4 - width // 16] for n in range(4)
    ]
    *digits, flash = (float(column.mean()) for column in columns)
    number = sum(round((digit - _BLACK) / _STEP) * _BASE**n for n, digit in enumerate(digits))
    return number, flash > (_BLACK + _WHITE) / 2


def make_flashes(path: Path, seconds: int) -> Path:
    """Small and dark but for a flash with a beep at each full second, where the key frames are, too."""
    picture = f"testsrc2=size=320x180:rate={FRAME_RATE},lutyuv=y=val/4"
    picture += ",drawbox=color=white:thickness=fill:enable='lt(mod(t,1),0.08)'"
    sound = "aevalsrc='0.7*sin(2000*PI*t)*lt(mod(t,1),0.08)':sample_rate=44100:channel_layout=stereo"
    command = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, "-t", str(seconds)]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-b:v", "300k"]
    command += ["-g", str(FRAME_RATE), "-sc_threshold", "0", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    run_ffmpeg(*command, "-movflags", "+faststart", str(path))
    return path


def _remux(source: Path, target: Path, *options: str) -> None:
    run_ffmpeg("-i", str(source), "-c", "copy", *options, str(target))


def run_ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", *arguments], check=True, stdin=subprocess.DEVNULL)


def _make(path: Path, seconds: int, video: list[str]) -> Path:
    """A test picture with a moving part and a tone; scene cuts never make key frames of their own."""
    command = ["-f", "lavfi", "-i", f"testsrc2=size=640x360:rate={FRAME_RATE}"]
    command += ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100", "-t", str(seconds)]
    command += [*video, "-sc_threshold", "0", "-pix_fmt", "yuv420p", "-c:a", "aac", "-ac", "2"]
    run_ffmpeg(*command, "-movflags", "+faststart", str(path))
    return path
