"""Which source plays which URL: one line per scheme, one file per kind of source.

There are two protocols. A `FileSource` blocks; a worker thread reads it ahead, and we pace it. A `LiveSource`
is awaited, and its media is passed on as it arrives. The content of an HTTP address tells which one plays it.
"""

import asyncio
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from typing import Literal, Protocol

from sluice.core.errors import unsupported
from sluice.core.plan import Probe
from sluice.core.request_headers import PLAIN, RequestHeaders
from sluice.core.source_facts import Packaging
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.answer import Elsewhere, Endless, Recorded, SourceFinder
from sluice.media.source.live import LiveHttpSource
from sluice.media.source.notes import Notes
from sluice.media.source.rtmp import RtmpSource
from sluice.net.context import HttpContext
from sluice.net.dial import Dialer
from sluice.net.http import HttpFile


class FileSource(Protocol):
    """Blocks; `read` returns packets up to a media time, and none at the end."""

    live: Literal[False]

    @property
    def notes(self) -> Notes: ...

    @property
    def packaging(self) -> Packaging:
        """As far as it is known; from any thread."""

    def open(self) -> Probe: ...

    def read(self, until_us: int) -> list[Packet]: ...

    def seek(self, position_us: int) -> None: ...

    def abort(self) -> None:
        """From any thread: whatever blocks fails at once."""

    def close(self) -> None: ...


class LiveSource(Protocol):
    """Is awaited; `read` returns what has arrived, and raises at the end."""

    live: Literal[True]

    @property
    def notes(self) -> Notes: ...

    @property
    def packaging(self) -> Packaging:
        """As far as it is known."""

    async def open(self) -> Probe: ...

    async def read(self) -> list[Packet]: ...

    async def close(self) -> None: ...


async def source_for(
    url: str,
    dialer: Dialer,
    executor: Executor,
    kinds: frozenset[TrackKind] = frozenset(TrackKind),
    headers: RequestHeaders = PLAIN,
    opening: Executor | None = None,
) -> FileSource | LiveSource:
    """A source that is not opened yet, to be closed in any case. The first bytes of an HTTP address are
    requested; `headers` go with this request and with all that follow from it. Tracks of other `kinds` are
    left out where that is easy. `opening` has the threads that wait for answers (None: those of `executor`),
    `executor` has those of sources that play.

    Raises SourceError: permanent where no source plays the address, or the error of the request.
    """
    scheme = url.strip().partition(":")[0].lower()
    if scheme in ("rtmp", "rtmps"):
        return RtmpSource(url, dialer)
    if scheme in ("http", "https"):
        context = HttpContext(headers)
        finder = SourceFinder(
            partial(HttpFile, dialer=dialer, loop=asyncio.get_running_loop(), context=context), kinds
        )
        found = await _find(finder, url, opening or executor)
        return _played(found, dialer, executor)
    raise unsupported(f"the scheme {scheme}:// cannot be played")


async def _find(finder: SourceFinder, url: str, executor: Executor) -> Recorded | Endless | Elsewhere:
    def settle(search: "asyncio.Future[Recorded | Endless | Elsewhere]") -> None:
        if search.exception() is None:  # nobody else takes the result any more
            search.result().close()

    search = asyncio.get_running_loop().run_in_executor(executor, finder.find, url)
    try:
        return await asyncio.shield(search)
    except BaseException:  # cancelled, too: nothing may be closed while the thread uses it
        finder.abort()
        search.add_done_callback(settle)
        await asyncio.wait({search})  # may be cancelled in its turn: the callback is not
        raise


def _played(
    found: Recorded | Endless | Elsewhere, dialer: Dialer, executor: Executor
) -> FileSource | LiveSource:
    if isinstance(found, Endless):
        return LiveHttpSource(found, executor)
    if not isinstance(found, Elsewhere):
        return found
    source = RtmpSource(found.url, dialer)
    for text in found.notes:
        source.notes.add(text)
    source.packaging = replace(source.packaging, entries=found.entries)
    return source
