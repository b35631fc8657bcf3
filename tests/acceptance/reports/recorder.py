"""What a relay brings into its room, recorded at the room process's frame socket, where pushes subscribe.

It costs hardly anything while it records; `reading.py` tells afterwards what can be seen and heard in it.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sluice.client import CallFailed
from sluice.core.ids import AppId, RoomId, UserId
from sluice.core.rooms import LinkAddress, StreamIndex
from sluice.media.frame_link import FrameLinks
from sluice.media.source.room import StreamAddress, Subscription
from sluice.process.documents import Subscribe
from sluice.process.link import LinkFrame
from tests.acceptance.node import ServedNode

USER = UserId("source")
_POLL_S = 0.1


class Arrival(NamedTuple):
    wall_s: float
    frame: LinkFrame


@dataclass(frozen=True)
class Seen:
    """A document of the task that differs from the one before in state, reason, text or plan."""

    wall_s: float
    state: str
    reason: str
    text: str
    plan: dict[str, Any] | None


@dataclass
class Recording:
    """Times are of the monotonic clock; `began_s` is when the call was made that started the task."""

    began_s: float
    arrivals: list[Arrival] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    #: Of the task, as it was last.
    document: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)  #: what the source's server was asked for
    late_s: float = 0.0  #: how late the test itself was at most: times of arrival are no better

    @property
    def over(self) -> bool:
        return bool(self.seen) and self.seen[-1].state in ("ended", "failed", "refused")

    def take(self, frames: list[LinkFrame]) -> None:
        now = time.monotonic()
        self.arrivals += [Arrival(now, frame) for frame in frames]

    def see(self, document: dict[str, Any]) -> None:
        self.document = document
        state, reason, text = document["state"], document["reason"], document["reason_text"]
        last = self.seen[-1] if self.seen else None
        now = Seen(time.monotonic(), state, reason, text, document["plan"])
        if last is None or (last.state, last.reason, last.text, last.plan) != (
            state,
            reason,
            text,
            now.plan,
        ):
            self.seen.append(now)

    @property
    def texts(self) -> str:
        """All that the task said, for looking for words."""
        return "\n".join(f"{seen.state} {seen.reason}: {seen.text} {seen.plan}" for seen in self.seen)


def frame_socket(node: ServedNode) -> LinkAddress:
    """The path of the room process's frame socket; the node has one such process."""
    (process,) = node.children("sluice.rooms.engine")
    (path,) = {c.laddr for c in process.net_connections("unix") if str(c.laddr).endswith(".sock")}
    return LinkAddress(str(path))


class Desk:
    """Records tasks of one node. One look at its list of tasks tells the states of all."""

    def __init__(self, node: ServedNode) -> None:
        self.node = node
        self._link = frame_socket(node)
        self._recordings: dict[str, Recording] = {}
        self._looked = asyncio.Condition()

    async def record(self, room: str, url: str, seconds: float, **start: Any) -> Recording:
        """Plays `url` until its end, or for so many seconds and then stops it."""
        recording = Recording(time.monotonic())
        stream = Subscribe(
            app_id=AppId(self.node.credentials.app_id),
            room_id=RoomId(room),
            user_id=USER,
            stream=StreamIndex.CAMERA,
        )
        subscription = await Subscription.open(
            FrameLinks(),
            StreamAddress(self._link, stream),
            on_publisher=lambda _: None,
            on_frames=recording.take,
            on_end=lambda: None,
        )
        try:
            recording.began_s = time.monotonic()
            try:
                run = await self.node.start(room, url, **start)
            except CallFailed as error:
                recording.see({"state": "refused", "reason": "", "reason_text": str(error), "plan": None})
                return recording
            self._recordings[run] = recording
            try:
                async with asyncio.timeout(seconds):
                    await self._until_over(recording)
            except TimeoutError:
                del self._recordings[run]  # what is to be judged is how it was before it is stopped
                with contextlib.suppress(CallFailed):  # it came to its end meanwhile
                    await self.node.client_stop(run)
        finally:
            subscription.close()
        return recording

    async def _until_over(self, recording: Recording) -> None:
        async with self._looked:
            await self._looked.wait_for(lambda: recording.over)

    async def look(self) -> None:
        """Runs until it is cancelled."""
        while True:
            if self._recordings:
                answer = await asyncio.to_thread(self.node.client.native, "GET", "/tasks?limit=300")
                for document in answer["tasks"]:
                    if recording := self._recordings.get(document["id"]):
                        recording.see(document)
                async with self._looked:
                    self._looked.notify_all()
            asleep = time.monotonic()
            await asyncio.sleep(_POLL_S)
            late_s = time.monotonic() - asleep - _POLL_S
            for recording in self._recordings.values():
                recording.late_s = max(recording.late_s, late_s)
