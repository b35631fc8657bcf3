"""Which source plays which URL: one line per scheme, one file per kind of source.

Two shapes exist. A `FileSource` blocks, is read ahead on a worker thread and paced by us; a `LiveSource`
is awaited, and what arrives is passed on as it arrives.
"""

import asyncio
from typing import Protocol
from urllib.parse import urlsplit

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.plan import Probe
from sluice.media.packets import Packet
from sluice.media.source.mp4 import Mp4Source
from sluice.media.source.rtmp import RtmpSource
from sluice.net.dial import Dialer
from sluice.net.http import HttpFile


class FileSource(Protocol):
    def open(self) -> Probe: ...

    def read(self, until_us: int) -> list[Packet]: ...

    def seek(self, position_us: int) -> None: ...

    def abort(self) -> None:
        """From any thread: whatever blocks fails at once."""

    def close(self) -> None: ...


class LiveSource(Protocol):
    async def open(self) -> Probe: ...

    async def read(self) -> list[Packet]: ...

    async def close(self) -> None: ...


def source_for(url: str, dialer: Dialer) -> FileSource | LiveSource:
    """Raises SourceError (permanent) for a scheme that nothing plays."""
    scheme = urlsplit(url).scheme.lower()
    if scheme in ("http", "https"):
        return Mp4Source(HttpFile(url, dialer, asyncio.get_running_loop()))
    if scheme == "rtmp":
        return RtmpSource(url, dialer)
    raise SourceError(Reason.SOURCE_UNSUPPORTED, f"the scheme {scheme}:// cannot be played", transient=False)
