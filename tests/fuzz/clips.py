"""Seeds that FFmpeg makes: the beginning of a small clip in the forms that a target reads."""

import subprocess
import tempfile
from pathlib import Path

_SOURCE = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25", "-f", "lavfi", "-i", "sine=sample_rate=44100")
_CODED = ("-t", "0.4", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac")
_BYTES = 12_000
#: The names of files by which FFmpeg knows the form.
_FORMS = {
    "flv": ("clip.flv",),
    "h264": ("clip.h264",),
    "sniff": ("clip.flv", "clip.ts", "clip.mp4", "clip.mkv", "clip.wav", "clip.aac"),
}


def clip_seeds(target: str) -> list[bytes]:
    """None for targets that read no clips."""
    seeds = []
    with tempfile.TemporaryDirectory() as folder:
        for name in _FORMS.get(target, ()):
            path = Path(folder) / name
            command = ["ffmpeg", "-v", "error", *_SOURCE, *_CODED, str(path)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
            seeds.append(path.read_bytes()[:_BYTES])
    return seeds
