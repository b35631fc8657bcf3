"""Taps: a subscription to a room's stream and an AAC encoder, shared by all pushes of the stream.

A tap lives from its first outlet to its last. It subscribes again by itself when the room process has started
again. It always tells who publishes, and converts media while an outlet is open.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from sluice.core.key_frames import KeyFrames
from sluice.core.vitals import SoundWatch
from sluice.media.context import MediaContext
from sluice.media.counts import Counts
from sluice.media.growth import CountsGrowth
from sluice.media.push.conversion import Conversion
from sluice.media.source.room import StreamAddress, Subscription
from sluice.media.units import AudioHeaders, Unit
from sluice.process.documents import Publisher
from sluice.process.link import KEY_FRAME, FrameType, LinkFrame
from sluice.process.owned import own

log = structlog.get_logger()

_ROOM_PAUSE_S = 0.2
#: Units are given out so often: a write to a CDN costs as much as making a unit, and viewers behind a CDN do
#: not notice the delay.
_TICK_S = 0.04


class Listener(Protocol):
    """What a tap calls, on the event loop. It must not block."""

    def on_publisher(self, publisher: Publisher) -> None: ...

    def on_units(self, units: list[Unit]) -> None: ...


class Tap:
    def __init__(self, address: StreamAddress, context: MediaContext) -> None:
        self.publisher = Publisher()
        self._links, self._pacer = context.links, context.pacer
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._keys = KeyFrames()
        self._link: Subscription | None = None
        self._conversion: Conversion | None = None
        self._ready: list[Unit] = []
        self._counted = Counts()  #: by conversions that are over
        self._growth = CountsGrowth(context)
        self._outlets: list[Outlet] = []
        self._open: list[Outlet] = []
        self._ticking = False
        self._task = own(self._subscribe(), f"tap of {address.stream.user_id}", vital=False)

    # --- what outlets do -----------------------------------------------------------------------------------

    def add(self, outlet: "Outlet") -> None:
        self._outlets.append(outlet)

    def remove(self, outlet: "Outlet") -> bool:
        """Returns True when it was the last outlet: the tap then ends."""
        self.shut(outlet)
        self._outlets.remove(outlet)
        if self._outlets:
            return False
        self._task.cancel()
        return True

    def open(self, outlet: "Outlet") -> AudioHeaders:
        """Media begins for this outlet. Returns the headers of its sound."""
        if self._conversion is None:
            self._conversion = Conversion(self._now_us(), sound_expected=self.publisher.audio)
        # A new list: this may be called while units are given out.
        self._open = [*self._open, outlet]
        if not self._ticking:
            self._ticking = True
            self._pacer.schedule(self._loop.time(), self._tick, self._tick_again)
        return self._conversion.audio_headers

    def shut(self, outlet: "Outlet") -> None:
        self._open = [other for other in self._open if other is not outlet]
        if not self._open and self._conversion is not None:
            self._counted += self._conversion.counts()
            self._conversion, self._ready = None, []

    def want_key_frame(self) -> None:
        self._keys.want()
        self._ask_key_frame()

    @property
    def heard(self) -> SoundWatch | None:
        """What is heard of its sound; None while no outlet is open."""
        return self._conversion.heard if self._conversion is not None else None

    def counts(self) -> Counts:
        """What it has counted; it becomes part of the process's figures with this."""
        counts = self._counted + (self._conversion.counts() if self._conversion is not None else Counts())
        self._growth.note(counts)
        return counts

    # --- what the room does --------------------------------------------------------------------------------

    async def _subscribe(self) -> None:
        """Keeps the subscription until it is cancelled."""
        try:
            while True:
                gone = asyncio.Event()
                try:
                    self._link = await Subscription.open(
                        self._links,
                        self._address,
                        on_publisher=self._on_publisher,
                        on_frames=self._on_frames,
                        on_end=gone.set,
                    )
                    await gone.wait()
                    log.info("room link lost", room_id=self._address.stream.room_id)
                except OSError:
                    pass  # the room process starts again
                self._link = None
                if self._conversion is not None:
                    self._conversion.begin_anew()
                self._on_publisher(Publisher())
                await asyncio.sleep(_ROOM_PAUSE_S)
        finally:
            if self._link is not None:
                self._link.close()

    def _on_publisher(self, publisher: Publisher) -> None:
        if publisher != self.publisher:
            self.publisher = publisher
            for outlet in list(self._outlets):
                outlet.listener.on_publisher(publisher)

    def _on_frames(self, frames: list[LinkFrame]) -> None:
        if self._conversion is None:
            return
        now = self._loop.time()
        for frame in frames:
            if frame.type == FrameType.VIDEO:
                self._keys.on_picture(now, key=bool(frame.flags & KEY_FRAME))
        self._ready += self._conversion.convert(frames, self._now_us())

    def _tick(self, now: float) -> float | None:
        if self._conversion is None:
            self._ticking = False
            return None
        units, self._ready = self._ready + self._conversion.fill(self._now_us()), []
        if units:
            for outlet in self._open:
                outlet.listener.on_units(units)
        self._ask_key_frame()
        return now + _TICK_S

    def _tick_again(self, error: Exception) -> None:
        """Goes on after an error. The units that were ready are lost; pushes notice if nothing leaves."""
        self._loop.call_exception_handler({"message": "a tap failed", "exception": error})
        self._pacer.schedule(self._loop.time() + _TICK_S, self._tick, self._tick_again)

    def _ask_key_frame(self) -> None:
        if self._link is None or not self._open:
            return
        every_s = min(outlet.key_frame_s for outlet in self._open)
        if self._keys.ask(self._loop.time(), every_s):
            self._link.request_key_frame(begin=self._keys.wanted)

    def _now_us(self) -> int:
        return int(self._loop.time() * 1e6)


class Outlet:
    """What one push has of a tap, which all pushes of a stream share."""

    def __init__(self, tap: Tap, listener: Listener, key_frame_s: float, on_last: Callable[[], None]) -> None:
        self.listener = listener
        self.key_frame_s = key_frame_s
        self._tap = tap
        self._on_last = on_last
        tap.add(self)

    @property
    def publisher(self) -> Publisher:
        return self._tap.publisher

    def open(self) -> AudioHeaders:
        """Media comes from now on. Its sound needs the headers that are returned."""
        return self._tap.open(self)

    def shut(self) -> None:
        """No more media."""
        self._tap.shut(self)

    def want_key_frame(self) -> None:
        """Asks for a key frame soon, and again until one comes; only while open."""
        self._tap.want_key_frame()

    @property
    def heard(self) -> SoundWatch | None:
        """What is heard of its sound; None while no outlet of the stream is open."""
        return self._tap.heard

    def counts(self) -> Counts:
        """What could not be used of the stream since the tap began, and the time of codecs."""
        return self._tap.counts()

    def give_up(self) -> None:
        """The push is over."""
        if self._tap.remove(self):
            self._on_last()


class Taps:
    """All taps of a media process."""

    def __init__(self, context: MediaContext) -> None:
        self._context = context
        self._taps: dict[StreamAddress, Tap] = {}

    def outlet(self, address: StreamAddress, listener: Listener, *, key_frame_s: float) -> Outlet:
        """`key_frame_s`: when no key frame comes for so long, one is asked for."""
        if address not in self._taps:
            self._taps[address] = Tap(address, self._context)
        return Outlet(self._taps[address], listener, key_frame_s, lambda: self._forget(address))

    def _forget(self, address: StreamAddress) -> None:
        del self._taps[address]
