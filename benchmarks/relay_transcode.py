"""What a relay with re-encoding costs: 720p at 25 pictures/s to 640x480 at 15, AAC to Opus, one viewer each.

Beside it as many ffmpeg processes with the settings of `media.pipe.h264_encode`, to RTP. See relays.py for
how both are measured.
"""

import asyncio

from benchmarks.relays import Work, parse, run
from sluice.process.logs import configure_logging

_WIDTH, _HEIGHT, _RATE = 640, 480, 15
#: Thinned before it is scaled, as ours; fitted with black bars.
_FILTERS = f"fps={_RATE},scale={_WIDTH}:360,pad={_WIDTH}:{_HEIGHT}:(ow-iw)/2:(oh-ih)/2,format=yuv420p"
_X264 = (
    *("-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-profile:v", "baseline"),
    *("-crf", "23", "-g", "10000", "-forced-idr", "1", "-force_key_frames", "expr:gte(t,n_forced*2)"),
    *("-threads:v", "1"),
)
_WORK = Work(
    name="relay_transcode",
    title=f"relay, video to {_WIDTH}x{_HEIGHT} at {_RATE} pictures/s and AAC to Opus",
    action="transcode",
    picture_rate=_RATE,
    control={"StreamMode": 0, "VideoWidth": _WIDTH, "VideoHeight": _HEIGHT, "FrameRate": _RATE},
    ffmpeg=("-vf", _FILTERS, *_X264),
    bar=None,
)


def main() -> None:
    options = parse(__doc__, 8)
    configure_logging("error")
    raise SystemExit(0 if asyncio.run(run(_WORK, options)) else 1)


if __name__ == "__main__":
    main()
