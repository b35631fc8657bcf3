"""RTMP sources: our own client on asyncio. `wire.rtmp` has the protocol, `rtmp_link` connects and logs in.

Each step has a deadline, and so has the wait for the next media. Media is passed on as it arrives; the
back-pressure is TCP's. The end of a live stream is a loss, so `read` raises then and never returns nothing.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Literal

from sluice.core.errors import SourceError, interrupted, unsupported
from sluice.core.lifecycle import Reason
from sluice.core.masking import mask_url
from sluice.core.plan import Probe
from sluice.core.source_facts import Packaging
from sluice.media.packets import Packet
from sluice.media.rtmp_link import HungUp, RtmpLink, connect_rtmp
from sluice.media.source.flv_tracks import FlvTracks
from sluice.media.source.notes import Notes
from sluice.net.dial import Dialer
from sluice.wire.rtmp import (
    AudioMessage,
    ClientState,
    DataMessage,
    Event,
    Rejected,
    StreamEnded,
    StreamNotFound,
    VideoMessage,
)
from sluice.wire.rtmp_chunks import RtmpError
from sluice.wire.rtmp_play import PlayMachine
from sluice.wire.rtmp_url import RtmpUrl


@dataclass(frozen=True, slots=True)
class RtmpTimeouts:
    """Seconds. `reply_s`: for each of connect, createStream and play; `media_s`: until the next media;
    `header_s`: until media can be decoded, where only a sequence header is missing."""

    handshake_s: float = 5.0
    reply_s: float = 10.0
    media_s: float = 10.0
    header_s: float = 20.0


class RtmpSource:
    """`open`, then `read` until it raises; `close` in any case. One task at a time."""

    live: Literal[True] = True

    def __init__(self, url: str, dialer: Dialer, timeouts: RtmpTimeouts = RtmpTimeouts()) -> None:
        """Raises SourceError (permanent) for a URL that names no server and app."""
        try:
            self._target = RtmpUrl.parse(url)
        except ValueError as error:
            raise unsupported(f"{mask_url(url)} is no usable address: {error}") from error
        self._name = mask_url(url)
        self._dialer, self._timeouts = dialer, timeouts
        self.notes = Notes()
        self.packaging = Packaging()
        self._tracks = FlvTracks(self.notes)
        self._failure: SourceError | None = None
        self._link: RtmpLink[PlayMachine] | None = None
        self._media_at = 0.0  #: when media last came

    async def open(self) -> Probe:
        """Connects, plays and waits until the tracks are known.

        Raises SourceError, all transient but ADDRESS_NOT_ALLOWED and SOURCE_UNSUPPORTED (damaged headers):
        SOURCE_UNREACHABLE, SOURCE_REFUSED (by the server, or no such stream), IDLE_TIMEOUT (no media).
        """
        limits = self._timeouts
        try:
            self._link = await connect_rtmp(
                self._target,
                self._dialer,
                PlayMachine,
                handshake_s=limits.handshake_s,
                reply_s=limits.reply_s,
            )
        except SourceError as error:
            raise SourceError(error.reason, f"{self._name}: {error}", transient=error.transient) from error
        self.packaging = replace(self.packaging, container="RTMP")
        for state in (ClientState.CREATE_STREAM, ClientState.PLAY):
            await self._take_step(self._link.machine, state)
        return await self._probe()

    async def read(self) -> list[Packet]:
        """At least one packet. Raises SourceError (SOURCE_INTERRUPTED, transient) at the end or a stall."""
        deadline = _now() + self._timeouts.media_s
        while not (packets := self._tracks.take()):
            if self._failure is not None:
                raise self._failure
            if not await self._pump(deadline):
                raise self._lost(f"sent nothing for {self._timeouts.media_s:g} s")
        return packets

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _take_step(self, machine: PlayMachine, state: ClientState) -> None:
        seconds = self._timeouts.reply_s
        deadline = _now() + seconds
        while machine.state is state:
            if not await self._pump(deadline):
                text = f"{self._name}: the server did not answer to {state.value} within {seconds:g} s"
                if machine.complaint:
                    text += f" ({self._target.without_secrets(machine.complaint)[:200]})"
                raise SourceError(Reason.SOURCE_UNREACHABLE, text, transient=True)
            if self._failure is not None:
                raise self._failure

    async def _probe(self) -> Probe:
        """Waits as long as media arrives: the first key frame may be far away."""
        self._media_at = _now()
        asked_at = _now()
        while not self._tracks.begun:
            lacking = self._tracks.lacking()
            if lacking and _now() > asked_at + self._timeouts.header_s:
                raise SourceError(Reason.SOURCE_UNSUPPORTED, f"{self._name}: {lacking}", transient=True)
            dropped = self._tracks.dropped
            if not await self._pump(self._media_at + self._timeouts.media_s):
                what = "no media" if not dropped else "no media that can be decoded"
                limit = f"within {self._timeouts.media_s:g} s"
                text = f"{self._name}: {what} came {limit}; is it being published?"
                raise SourceError(Reason.IDLE_TIMEOUT, text, transient=True)
            if self._failure is not None and not self._tracks.begun:
                self._tracks.probe()  # raises damage, which says more
                raise self._failure
        first_at = _now()
        while self._failure is None and await self._pump(first_at + self._tracks.wait_s()):
            pass
        return self._tracks.probe()

    async def _pump(self, deadline: float) -> bool:
        """Takes what the server sends next; False when `deadline` passes first."""
        if deadline <= _now():
            return False
        link = self._link
        assert link is not None  # noqa: S101 - open comes first
        try:
            async with asyncio.timeout_at(deadline):
                events = await link.receive()
            for event in events:
                self._handle(event)
        except TimeoutError:
            return False
        except HungUp as error:
            self._fail(self._lost("closed the connection"), error)
        except OSError as error:
            self._fail(self._lost("broke the connection"), error)
        except RtmpError as error:
            self._fail(self._refused(f"the server breaks the protocol: {error}"), error)
        except SourceError as error:
            self._fail(error)
        return True

    def _handle(self, event: Event) -> None:
        match event:
            case VideoMessage() | AudioMessage():
                self._media_at = _now()
                self._tracks.on_media(event)
            case DataMessage():
                self._tracks.on_metadata(event)
            case StreamNotFound():
                self._fail(self._refused("there is no such stream; is it being published?"))
            case Rejected(code, text):
                words = self._target.without_secrets(text or code)[:300]
                self._fail(self._refused(f"the server refuses: {words}"))
            case StreamEnded():
                self._fail(self._lost("ended the stream"))

    def _fail(self, error: SourceError, cause: Exception | None = None) -> None:
        """Keeps the error, to be raised when the packets that came before it are taken."""
        if self._failure is None:
            error.__cause__ = cause
            self._failure = error

    def _lost(self, what: str) -> SourceError:
        if not self._tracks.begun:
            # Many servers refuse a player by hanging up.
            return self._refused(f"the server {what} before any media came; is it being published?")
        return interrupted(f"{self._name}: the server {what}")

    def _refused(self, why: str) -> SourceError:
        return SourceError(Reason.SOURCE_REFUSED, f"{self._name}: {why}", transient=True)


def _now() -> float:
    return asyncio.get_running_loop().time()
