"""What all sinks have in common: they take media at once, and count what they sent and dropped."""

from typing import Any, Protocol, TypeVar

from sluice.core.drops import DropRule
from sluice.media.counts import Counts

M = TypeVar("M")


class Sink(Protocol[M]):
    """One connection for media of the form `M`: frames for a room, FLV units for a CDN.

    How a sink is opened and closed is its own: a room's channel closes at once, a CDN is told goodbye.
    """

    @property
    def video_frames(self) -> int: ...

    @property
    def audio_packets(self) -> int: ...

    @property
    def bytes_out(self) -> int: ...

    @property
    def dropped(self) -> int:
        """Frames or units that the receiver was too slow for."""
        ...

    def send(self, media: list[M], /) -> object:
        """Sends in order, without waiting: what the receiver does not take in time is dropped."""
        ...


def counts_of(sink: Sink[Any] | None, *, slow: DropRule, media_us: int = 0) -> Counts:
    """What a sink counts; nothing where there is none. `slow` names the rule by which it drops."""
    if sink is None:
        return Counts(dropped={slow: 0})
    return Counts(
        sink.video_frames,
        sink.audio_packets,
        sink.bytes_out,
        media_us=media_us,
        dropped={slow: sink.dropped},
    )
