"""The end of a channel over which a session subscribes to one stream of one user, to push it somewhere.

It begins with Subscribe. The room tells it at once, and whenever that changes, who publishes (Publisher).
Frames come while the stream is published, video from the next key frame on. The session may ask for one
(KeyFrameRequest). Many publishers make none when asked, copied relays among them: after a GroupRequest the
session gets the current group of pictures instead, as frames with the flag PAST.

What waits for a slow media process is bounded (see `link`). Beyond the bound frames are dropped up to the
next key frame, and counted.
"""

from collections.abc import Callable, Sequence

import structlog

from sluice.process.documents import GroupRequest, KeyFrameRequest, LinkDocument, Publisher, Subscribe
from sluice.process.link import KEY_FRAME, FrameType, LinkError, LinkFrame
from sluice.rooms.engine.link import LinkChannel
from sluice.rooms.engine.stream import Stream

log = structlog.get_logger()

#: A group is large: a session that cannot go on with one waits at least this long for the next.
_GROUP_PAUSE_US = 5_000_000
_VIDEO, _AUDIO = FrameType.VIDEO, FrameType.AUDIO


class SubscriberLink:
    """`on_lost` is called once, when the session is gone."""

    def __init__(
        self,
        link: LinkChannel,
        subscribed: Subscribe,
        stream: Stream,
        *,
        on_lost: Callable[["SubscriberLink"], None],
        clock_us: Callable[[], int],
    ) -> None:
        self.stream = stream
        self.dropped = 0
        self._user_id = subscribed.user_id
        self._link = link
        self._on_lost = on_lost
        self._clock_us = clock_us
        self._publisher: Publisher | None = None
        self._skipping = True  #: video, up to the next key frame
        self._full = False
        self._group_at_us = 0  #: no group is sent before this time
        link.expect_frames()

    @property
    def name(self) -> str:
        return f"subscriber of {self._user_id}"

    def on_document(self, document: LinkDocument) -> None:
        now_us = self._clock_us()
        if isinstance(document, GroupRequest) and now_us >= self._group_at_us:
            self.stream.want_group(self, now_us)
        elif isinstance(document, GroupRequest | KeyFrameRequest):
            self.stream.ask_key_frame(now_us)
        else:
            raise LinkError(f"a subscriber says {document.type}")

    def on_frame(self, frame: LinkFrame) -> None:
        raise LinkError("a subscriber sends frames")

    def lost(self) -> None:
        self._on_lost(self)

    def tell(self, publisher: Publisher) -> None:
        if publisher != self._publisher:
            self._publisher = publisher
            self._link.tell(publisher)

    def send_group(self, frames: Sequence[tuple[bytes, int, int]]) -> None:
        self._group_at_us = self._clock_us() + _GROUP_PAUSE_US
        self._skipping = self._full = False
        self._link.send_whole(_VIDEO, frames)

    def send_video(self, payload: bytes, clock_us: int, *, key: bool) -> None:
        if self._link.full:
            self._drop()
        elif self._skipping and not key:
            self.dropped += self._full
        else:
            self._skipping = self._full = False
            self._link.send(_VIDEO, payload, clock_us, KEY_FRAME if key else 0)

    def send_audio(self, payload: bytes, clock_us: int) -> None:
        if self._link.full:
            self._drop()
        else:
            self._link.send(_AUDIO, payload, clock_us)

    def _drop(self) -> None:
        if not self._full:
            log.warning("x subscriber", why="it does not keep up", user_id=self._user_id)
        self.dropped += 1
        self._skipping = self._full = True
