"""A room's stream for a session that pushes it: who publishes it, and its frames, over a channel of the frame
link (`media.frame_link`)."""

from collections.abc import Callable
from dataclasses import dataclass

from sluice.core.rooms import LinkAddress
from sluice.media.frame_link import Channel, FrameLinks
from sluice.process.documents import GroupRequest, KeyFrameRequest, LinkDocument, Publisher, Subscribe
from sluice.process.link import LinkError, LinkFrame


@dataclass(frozen=True, slots=True)
class StreamAddress:
    """A stream of a room, and where that room is reached."""

    link: LinkAddress
    stream: Subscribe


class Subscription:
    """`on_publisher` is told who publishes, at once and after each change. `on_frames` gets what came at
    once. `on_end` is called once, when the room is gone."""

    def __init__(
        self,
        on_publisher: Callable[[Publisher], None],
        on_frames: Callable[[list[LinkFrame]], None],
        on_end: Callable[[], None],
    ) -> None:
        self._on_publisher, self._on_frames, self._on_end = on_publisher, on_frames, on_end
        self._channel: Channel

    @classmethod
    async def open(
        cls,
        links: FrameLinks,
        address: StreamAddress,
        *,
        on_publisher: Callable[[Publisher], None],
        on_frames: Callable[[list[LinkFrame]], None],
        on_end: Callable[[], None],
    ) -> "Subscription":
        """Raises OSError when the room process is not there."""
        subscription = cls(on_publisher, on_frames, on_end)
        subscription._channel = await links.open(address.link, address.stream, subscription)
        return subscription

    def request_key_frame(self, *, begin: bool) -> None:
        """`begin`: somebody cannot go on without one, and takes the current group of pictures instead."""
        self._channel.tell(GroupRequest() if begin else KeyFrameRequest())

    def close(self) -> None:
        """`on_end` is not called any more."""
        self._channel.close()

    # --- what the room does -------------------------------------------------------------------------------

    def on_document(self, document: LinkDocument) -> None:
        if not isinstance(document, Publisher):
            raise LinkError(f"a room says {document.type} to a subscriber")
        self._on_publisher(document)

    def on_frames(self, frames: list[LinkFrame]) -> None:
        self._on_frames(frames)

    def on_end(self) -> None:
        self._on_end()
