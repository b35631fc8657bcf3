"""The frames of sessions into rooms, without waiting: one frame link to each room process, shared by all.

What the room process does not take in time is dropped up to the next key frame and counted; a link that
breaks (the room process died) is told to its sessions, which go on with a new one.
"""

import asyncio
from collections.abc import Callable, Iterable

from sluice.media.pipe.frames import OutFrame
from sluice.process.link import (
    KEY_FRAME,
    MOST_CHANNELS,
    FrameParser,
    FrameType,
    LinkError,
    LinkFrame,
    pack_control,
    pack_frame,
    parse_control,
)

_MOST_BUFFERED = 16 << 20
_AUDIO = FrameType.AUDIO


class RoomLinks:
    """The frame links of a media process. A link lives while a channel of it is open."""

    def __init__(self) -> None:
        self._trunks: dict[str, _Trunk] = {}
        self._connecting = asyncio.Lock()

    async def open(
        self,
        path: str,
        hello: dict[str, object],
        *,
        on_end: Callable[[bool], None],
        on_key_frame: Callable[[], None],
    ) -> "RoomLink":
        """A channel to the room process whose frame socket is `path`. Raises OSError when it is not there.

        `on_end` is called once: True when another publisher took the place, False when the room is gone.
        `on_key_frame` is called whenever a viewer needs one."""
        async with self._connecting:
            trunk = self._trunks.get(path)
            if trunk is None or trunk.closing:
                loop = asyncio.get_running_loop()
                _, trunk = await loop.create_unix_connection(_Trunk, path)
                self._trunks[path] = trunk
            return trunk.open(hello, on_end, on_key_frame)


class RoomLink:
    """One session's channel."""

    def __init__(
        self,
        trunk: "_Trunk",
        number: int,
        on_end: Callable[[bool], None],
        on_key_frame: Callable[[], None],
    ) -> None:
        self.video_frames = self.audio_packets = self.bytes_out = self.dropped = 0
        self._trunk = trunk
        self._number = number
        self._on_end: Callable[[bool], None] | None = on_end
        self._on_key_frame = on_key_frame
        self._key_needed = False

    def send(self, frames: Iterable[OutFrame]) -> bool:
        """Sends frames in order. False when none of them went."""
        trunk, number = self._trunk, self._number
        if trunk.closing:
            return False
        full = trunk.full
        out: list[bytes] = []
        for frame in frames:
            kind, payload, flags = frame.type, frame.payload, 0
            if kind is _AUDIO:
                if full:
                    self.dropped += 1
                    continue
                self.audio_packets += 1
            else:
                if full or (self._key_needed and not frame.key):
                    self._key_needed = True
                    self.dropped += 1
                    continue
                self._key_needed = False
                self.video_frames += 1
                flags = KEY_FRAME if frame.key else 0
            self.bytes_out += len(payload)
            out.append(pack_frame(kind, payload, frame.media_us, flags, number))
        if out:
            trunk.write(out)
        return bool(out)

    def counts(self) -> tuple[int, int, int, int]:
        """Video frames, audio packets and payload bytes sent; frames dropped."""
        return self.video_frames, self.audio_packets, self.bytes_out, self.dropped

    def close(self) -> None:
        """What was sent still goes; `on_end` is not called any more."""
        self._on_end = None
        self._trunk.leave(self._number)

    def take(self, frame: LinkFrame) -> None:
        """What the room says. Raises LinkError."""
        document = parse_control(frame.payload) if frame.type == FrameType.CONTROL else {}
        if document.get("key_frame"):
            self._on_key_frame()
        if document.get("replaced"):
            self.end(replaced=True)

    def end(self, *, replaced: bool) -> None:
        if self._on_end is not None:
            on_end, self._on_end = self._on_end, None
            on_end(replaced)


class _Trunk(asyncio.Protocol):
    """What channels write in one turn of the loop goes out at once at its end."""

    def __init__(self) -> None:
        self.closing = False
        self.full = False
        self._loop = asyncio.get_running_loop()
        self._parser = FrameParser()
        self._transport: asyncio.Transport | None = None
        self._members: dict[int, RoomLink] = {}
        self._newest = -1
        self._out: list[bytes] = []

    def open(
        self, hello: dict[str, object], on_end: Callable[[bool], None], on_key_frame: Callable[[], None]
    ) -> RoomLink:
        """Raises OSError where a room process has as many channels as there are numbers."""
        if len(self._members) == MOST_CHANNELS:
            raise OSError("the frame link has no free channel")
        # The longest free number: what is still on its way for the one before must not meet the next.
        self._newest = number = next(
            n % MOST_CHANNELS
            for n in range(self._newest + 1, self._newest + 1 + MOST_CHANNELS)
            if n % MOST_CHANNELS not in self._members
        )
        self._members[number] = link = RoomLink(self, number, on_end, on_key_frame)
        self.write([pack_control({"hello": hello}, number)])
        return link

    def leave(self, number: int) -> None:
        if self._members.pop(number, None) is None:
            return
        self.write([pack_frame(FrameType.END, b"", channel=number)])
        if not self._members:
            self._flush()
            self._close()

    def write(self, frames: list[bytes]) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out += frames

    def _flush(self) -> None:
        if self._transport is not None and self._out and not self.closing:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _close(self) -> None:
        self.closing = True
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # stream sockets have no other kind
        transport.set_write_buffer_limits(high=_MOST_BUFFERED)  # type: ignore[attr-defined]

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        members, self._members = self._members, {}
        for member in members.values():
            member.end(replaced=False)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._parser.feed(data):
                member = self._members.get(frame.channel)
                if member is None:
                    continue  # said before it knew that the session left
                if frame.type == FrameType.END:
                    self.leave(frame.channel)
                    member.end(replaced=False)
                else:
                    member.take(frame)
        except LinkError:
            self._close()
