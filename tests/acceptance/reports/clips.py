"""Clips whose every picture and second of sound can be told, made by the ffmpeg of the system.

Pictures carry their number as white blocks on a black strip along the top (bit b in block b + 2 of 16),
second n of the sound is a tone of 400 + 60 n Hz. A clip is made when the first case asks for it, once.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path

FRAME_RATE = 25
BITS, BLOCKS = 12, 16
LOWEST_HZ, STEP_HZ, MOST_SECONDS = 400, 60, 60

_X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-sc_threshold", "0")
_RATE = ("-b:v", "200k", "-maxrate", "250k", "-bufsize", "100k")
AAC = ("-c:a", "aac", "-b:a", "64k", "-ac", "2", "-ar", "48000")
TONES = "aevalsrc='0.25*sin(2*PI*(400+60*floor(t))*t)|0.25*sin(2*PI*(400+60*floor(t))*t)':s=48000"


def ff(*words: object) -> None:
    subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, words)],
        check=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def numbered(width: int = 320, height: int = 180, rate: int = FRAME_RATE) -> str:
    """FFmpeg's source of pictures with their numbers."""
    block = width // BLOCKS
    strip = [f"drawbox=x=0:y=0:w=iw:h={block}:color=black:t=fill"]
    strip += [
        f"drawbox=x={(bit + 2) * block}:y=0:w={block}:h={block}:color=white:t=fill"
        f":enable='mod(floor(n/{2**bit})\\,2)'"
        for bit in range(BITS)
    ]
    return f"testsrc2=size={width}x{height}:rate={rate}," + ",".join(strip)


def pictures_and_tones(seconds: float, size: tuple[int, int] = (320, 180)) -> tuple[object, ...]:
    return ("-f", "lavfi", "-i", numbered(*size), "-f", "lavfi", "-i", TONES, "-t", seconds)


def fmp4_words(source: Path, seconds: float, every_s: float) -> tuple[object, ...]:
    """FFmpeg's for a recording in fMP4; names of files follow."""
    words = ("-i", source, "-t", seconds, "-c", "copy", "-f", "hls", "-hls_time", every_s)
    return (*words, "-hls_playlist_type", "vod", "-hls_segment_type", "fmp4")


class Clips:
    """`folder` is what the test's server serves; a case keeps its files in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def dir(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(exist_ok=True)
        return path

    def base(self) -> Path:
        """24 s, a key frame each second."""
        return self._once("base.mp4", self._h264(24, gop=25))

    def longgop(self) -> Path:
        """24 s, a key frame each five seconds."""
        return self._once("longgop.mp4", self._h264(24, gop=125))

    def bframes(self) -> Path:
        """12 s in High profile with B-frames."""
        return self._once("bframes.mp4", self._h264(12, gop=25, extra=("-bf", "2", "-preset", "veryfast")))

    def large(self) -> Path:
        """12 s in twice the size."""
        return self._once("large.mp4", self._h264(12, gop=25, size=(640, 360)))

    def hevc(self) -> Path:
        quiet = ("-x265-params", "log-level=error:keyint=25:bframes=0", "-tag:v", "hvc1")
        words = (*pictures_and_tones(8), "-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
        return self._once("hevc.mp4", lambda to: ff(*words, *quiet, "-b:v", "200k", *AAC, to))

    def mp3(self, seconds: int, kbit: int, *bare: str) -> Path:
        words = ("-f", "lavfi", "-i", TONES, "-t", seconds, "-ar", 22050, "-ac", 1)
        mp3 = ("-c:a", "libmp3lame", "-b:a", f"{kbit}k", *bare)
        return self._once(f"{seconds}-{kbit}.mp3", lambda to: ff(*words, *mp3, to))

    def hls(self, name: str, seconds: float, *options: object, source: Path | None = None) -> Path:
        """A recording of segments of 2 s in a folder of its own: index.m3u8, s0.ts, s1.ts, …"""
        folder = self.dir(name)
        words = ("-i", source or self.base(), "-t", seconds, "-c", "copy", *options, "-f", "hls")
        hls = ("-hls_time", 2, "-hls_playlist_type", "vod")
        ff(*words, *hls, "-hls_segment_filename", folder / "s%d.ts", folder / "index.m3u8")
        return folder

    def fmp4(
        self, name: str, seconds: float, *options: object, source: Path | None = None, every_s: float = 2
    ) -> Path:
        """A recording in fMP4 in a folder of its own: index.m3u8, init.mp4, s0.m4s, s1.m4s, …"""
        folder = self.dir(name)
        names = ("-hls_fmp4_init_filename", "init.mp4", "-hls_segment_filename", folder / "s%d.m4s")
        words = fmp4_words(source or self.base(), seconds, every_s)
        ff(*words, *options, *names, folder / "index.m3u8")
        return folder

    def cut(
        self, to: Path, *options: object, source: Path | None = None, at: float = 0, seconds: float
    ) -> Path:
        """A stretch of a clip without encoding it anew."""
        ff("-ss", at, "-i", source or self.base(), "-t", seconds, "-c", "copy", *options, to)
        return to

    def _h264(
        self, seconds: float, *, gop: int, size: tuple[int, int] = (320, 180), extra: tuple[str, ...] = ()
    ) -> Callable[[Path], None]:
        tune = extra or ("-tune", "zerolatency", "-profile:v", "baseline")
        words = (*pictures_and_tones(seconds, size), *_X264, *tune, *_RATE, "-g", gop, "-keyint_min", gop)
        return lambda to: ff(*words, *AAC, "-movflags", "+faststart", to)

    def _once(self, name: str, make: Callable[[Path], None]) -> Path:
        path = self.folder / name
        if not path.exists():
            make(path)
        return path
