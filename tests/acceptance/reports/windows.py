"""Live HLS: a window of segments that slides in real time from the first request on."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from tests.acceptance.reports.site import Handler


@dataclass(frozen=True)
class Segment:
    name: str
    seconds: float = 2.0
    tags: str = ""  #: lines before it, each with its end of line


@dataclass
class Window:
    """`at(n)` is segment n of the endless stream; `ready` of them are there at the first request. `faults`
    answers some reloads, by their number: another status, or the playlist of so many segments before."""

    at: Callable[[int], Segment]
    length: int = 4
    ready: int = 4
    head: str = "#EXT-X-VERSION:3\n"
    sequence: int = 0
    discontinuity_sequence: Callable[[int], int] | None = None
    faults: dict[int, int] | None = None
    pause_s: tuple[float, float] = (0.0, 0.0)  #: seconds between which no segment is made
    restarts_at: int | None = None  #: the segment with which numbers and the list begin anew
    _began: float = 0.0
    _reloads: int = 0

    def handler(self) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            self.begin()
            self._reloads += 1
            fault = (self.faults or {}).get(self._reloads, 0)
            if fault >= 400:
                return web.Response(status=fault)
            body = self.playlist(self._newest() - fault)
            return web.Response(text=body, content_type="application/vnd.apple.mpegurl")

        return answer

    def begin(self) -> None:
        self._began = self._began or time.monotonic()

    def playlist(self, newest: int) -> str:
        first = max(0, newest - self.length + 1)
        restart = self.restarts_at
        if restart is not None and newest >= restart:
            first = max(first, restart)
        begins = restart if restart is not None and newest >= restart else 0
        lines = [
            "#EXTM3U\n",
            self.head,
            "#EXT-X-TARGETDURATION:2\n",
            f"#EXT-X-MEDIA-SEQUENCE:{self.sequence + first - begins}\n",
        ]
        if self.discontinuity_sequence is not None:
            lines.append(f"#EXT-X-DISCONTINUITY-SEQUENCE:{self.discontinuity_sequence(first)}\n")
        for n in range(first, newest + 1):
            segment = self.at(n)
            lines.append(f"{segment.tags}#EXTINF:{segment.seconds:.5f},\n{segment.name}\n")
        return "".join(lines)

    def _newest(self) -> int:
        """A segment is there when its time is over."""
        passed, newest = time.monotonic() - self._began, self.ready - 1
        stops_s, goes_on_s = self.pause_s
        passed -= max(0.0, min(passed, goes_on_s) - stops_s)
        while passed >= self.at(newest + 1).seconds:
            passed -= self.at(newest + 1).seconds
            newest += 1
        return newest
