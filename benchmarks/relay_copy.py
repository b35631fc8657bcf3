"""What a relay without re-encoding costs: H.264 as it is and AAC to Opus, many at once, one viewer each.

Beside it as many ffmpeg processes with the same remux to RTP. See relays.py for how both are measured.
"""

import asyncio

from benchmarks.relays import Work, parse, run
from sluice.process.logs import configure_logging

_WORK = Work(
    name="relay_copy",
    title="relay, H.264 copied and AAC to Opus",
    action="copy",
    picture_rate=25,
    control={"StreamMode": 1},
    ffmpeg=("-c:v", "copy"),
    bar=1.0,
)


def main() -> None:
    options = parse(__doc__, 20)
    configure_logging("error")
    raise SystemExit(0 if asyncio.run(run(_WORK, options)) else 1)


if __name__ == "__main__":
    main()
