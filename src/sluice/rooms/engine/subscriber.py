"""A session that subscribes to one stream of one user over a frame link, to push it somewhere.

Its hello is ``{"subscribe": {app_id, room_id, user_id, stream}}``. The room says at once, and whenever it
changes, ``{"publisher": {present, video, audio, trouble}}`` (see stream.PublisherState). While the
stream is published the frames come as the room gets them, video from the next key frame on, which the session
may ask for with ``{"key_frame": true}``. Many publishers make none when asked, copied relays among them: who
adds ``"begin": true`` then gets the current group of pictures, as frames with the flag PAST.

What waits for a slow session is bounded: beyond it frames are dropped up to the next key frame, and counted.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import structlog

from sluice.core.ids import AppId, RoomId, UserId
from sluice.process.link import FrameType, LinkError, LinkFrame, parse_control
from sluice.rooms.engine.link import LinkChannel
from sluice.rooms.engine.room import StreamKey
from sluice.rooms.engine.stream import PublisherState, Stream

log = structlog.get_logger()

_MOST_WAITING = 4 << 20
#: A group is large: a session that cannot go on with one waits at least this long for the next.
_GROUP_PAUSE_US = 5_000_000


@dataclass(frozen=True, slots=True)
class Subscription:
    app_id: AppId
    room_id: RoomId
    user_id: UserId
    stream: int

    @classmethod
    def of(cls, document: object) -> "Subscription":
        """Raises LinkError."""
        try:
            made = cls(**document)  # type: ignore[arg-type]
            hash(made)  # no lists or objects for names
        except TypeError as error:
            raise LinkError("the link does not say what it subscribes to") from error
        return made

    @property
    def key(self) -> StreamKey:
        return self.user_id, self.stream


class SubscriberLink:
    """`on_lost` is called once, when the session is gone."""

    def __init__(
        self,
        link: LinkChannel,
        subscription: Subscription,
        stream: Stream,
        *,
        on_lost: Callable[["SubscriberLink"], None],
        clock_us: Callable[[], int],
    ) -> None:
        self.subscription = subscription
        self.stream = stream
        self.dropped = 0
        self._link = link
        self._on_lost = on_lost
        self._clock_us = clock_us
        self._state: PublisherState | None = None
        self._skipping = True  #: video, up to the next key frame
        self._full = False
        self._most_waiting = _MOST_WAITING
        self._group_at_us = 0  #: no group is sent before this time

    @property
    def name(self) -> str:
        return f"subscriber of {self.subscription.user_id}"

    def take(self, frame: LinkFrame) -> None:
        document = parse_control(frame.payload) if frame.type == FrameType.CONTROL else {}
        now_us = self._clock_us()
        if document.get("begin") is True and now_us >= self._group_at_us:
            self.stream.want_group(self, now_us)
        elif document.get("key_frame") is True:
            self.stream.ask_key_frame(now_us)

    def lost(self) -> None:
        self._on_lost(self)

    def tell(self, state: PublisherState) -> None:
        if state != self._state:
            self._state = state
            self._link.tell({"publisher": asdict(state)})

    def send_group(self, data: list[bytes]) -> None:
        whole = b"".join(data)
        self._group_at_us = self._clock_us() + _GROUP_PAUSE_US
        self._most_waiting = _MOST_WAITING + self._link.buffered + len(whole)
        self._skipping = self._full = False
        self._link.write(whole)

    def send_video(self, data: bytes, *, key: bool) -> None:
        if self._is_full():
            self._drop()
        elif self._skipping and not key:
            self.dropped += self._full
        else:
            self._skipping = self._full = False
            self._link.write(data)

    def send_audio(self, data: bytes) -> None:
        if self._is_full():
            self._drop()
        else:
            self._link.write(data)

    def _is_full(self) -> bool:
        waiting = self._link.buffered
        if waiting <= _MOST_WAITING:
            self._most_waiting = _MOST_WAITING  # a group that was sent is gone
        return waiting > self._most_waiting

    def _drop(self) -> None:
        if not self._full:
            log.warning("x subscriber", why="it does not keep up", user=self.subscription.user_id)
        self.dropped += 1
        self._skipping = self._full = True
