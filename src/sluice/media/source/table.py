"""Which source plays which URL: one line per scheme, one file per kind of source.

Two shapes exist. A `FileSource` blocks, is read ahead on a worker thread and paced by us; a `LiveSource`
is awaited, and what arrives is passed on as it arrives. What an HTTP address is, its content tells.
"""

import asyncio
from concurrent.futures import Executor
from functools import partial
from typing import Literal, Protocol

from sluice.core.errors import unsupported
from sluice.core.plan import Probe
from sluice.core.request_headers import PLAIN, RequestHeaders
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.answer import Elsewhere, Endless, Looker, Recorded
from sluice.media.source.live import LiveHttpSource
from sluice.media.source.notes import Notes
from sluice.media.source.rtmp import RtmpSource
from sluice.net.context import HttpContext
from sluice.net.dial import Dialer
from sluice.net.http import HttpFile


class FileSource(Protocol):
    live: Literal[False]

    @property
    def notes(self) -> Notes: ...

    def open(self) -> Probe: ...

    def read(self, until_us: int) -> list[Packet]: ...

    def seek(self, position_us: int) -> None: ...

    def abort(self) -> None:
        """From any thread: whatever blocks fails at once."""

    def close(self) -> None: ...


class LiveSource(Protocol):
    live: Literal[True]

    @property
    def notes(self) -> Notes: ...

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
    """Not opened yet, to be closed in any case. An HTTP address is asked for its first bytes, with `headers`
    as everything that it leads to. Tracks of other `kinds` are left out where that is easy. `opening` has the
    threads that wait for answers, `executor` those for what plays; None: they are the same.

    Raises SourceError: permanent for what nothing plays, and what asking for the address gives.
    """
    scheme = url.strip().partition(":")[0].lower()
    if scheme in ("rtmp", "rtmps"):
        return RtmpSource(url, dialer)
    if scheme in ("http", "https"):
        context = HttpContext(headers)
        looker = Looker(
            partial(HttpFile, dialer=dialer, loop=asyncio.get_running_loop(), context=context), kinds
        )
        found = await _look(looker, url, opening or executor)
        return _played(found, dialer, executor)
    raise unsupported(f"the scheme {scheme}:// cannot be played")


async def _look(looker: Looker, url: str, executor: Executor) -> Recorded | Endless | Elsewhere:
    def settle(looked: "asyncio.Future[Recorded | Endless | Elsewhere]") -> None:
        if looked.exception() is None:  # nobody else asks for it any more
            looked.result().close()

    looking = asyncio.get_running_loop().run_in_executor(executor, looker.look, url)
    try:
        return await asyncio.shield(looking)
    except BaseException:  # cancelled, too: nothing may be closed under the thread that uses it
        looker.abort()
        looking.add_done_callback(settle)
        await asyncio.wait({looking})  # may be cancelled in its turn: the callback is not
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
    return source
