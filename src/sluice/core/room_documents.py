"""What an operator is shown of rooms, and what tasks are told of their viewers.

The room process makes these documents from what it has seen and counted, and they travel as they are
(`rooms.port`, `process.control`, the native API), so each field is written once. None stands for what nobody
knows: no report has come yet, or none lately.

The address of a peer is personal data. What an operator needs it for is to see that those who lose packets
have a network in common, so documents name the network and not the address.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from sluice.core.ids import AppId, PeerId, RoomId, UserId
from sluice.core.rooms import StreamIndex

#: The streams of a user in a room, as tasks ask for their viewers.
Watched = tuple[AppId, RoomId, UserId]


class PeerRole(Enum):
    VIEWER = "viewer"
    PUBLISHER = "publisher"


class StreamOrigin(Enum):
    """Where a stream comes from."""

    RELAY = "relay"
    PEER = "peer"
    NOWHERE = ""  #: it is watched, and nobody publishes it yet


@dataclass(frozen=True, slots=True)
class MediaReport:
    """One kind of media of a peer. Of a viewer: what it was sent, and how it arrives by its own reports. Of a
    publisher: what came of it, and how it arrives here. Packets sent again do not count."""

    codec: str
    packets: int
    bytes: int  #: of RTP payloads
    bitrate_kbps: float  #: of the last second
    lost: int = 0  #: packets that the network lost, repaired or not
    loss_percent: float | None = None  #: over the last ten seconds
    last_loss_percent: float | None = None  #: of the newest report, which may be about a few packets only
    jitter_ms: float | None = None


@dataclass(frozen=True, slots=True)
class PeerTraffic:
    """What flows to a viewer, or from a publisher. `repeated`: packets that were sent again; `nacks`:
    requests for lost packets, `key_frames_asked`: requests for a picture, both of the receiving side."""

    media: Mapping[str, MediaReport] = field(default_factory=dict)  #: by kind: video, audio
    bitrate_kbps: float = 0.0
    loss_percent: float | None = None  #: of all kinds together, over the last ten seconds
    round_trip_ms: float | None = None
    repeated: int = 0
    nacks: int = 0
    key_frames_asked: int = 0
    video_paused: bool = False  #: the network of the viewer does not take it


@dataclass(frozen=True, slots=True)
class PeerReport:
    """`watches` or `publishes`: whose stream. `network` is its address without the last part. `dropped`:
    packets that were left out, by the names of the rules."""

    id: PeerId
    user_id: UserId
    role: PeerRole
    state: str  #: connecting, connected, closed
    since: float  #: Unix time
    of_user_id: UserId
    stream: StreamIndex
    network: str
    traffic: PeerTraffic
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VideoReport:
    """Size, profile and level are those of the stream's own parameter sets. Rates are of the last second."""

    codec: str
    profile: str
    level: str
    width: int | None
    height: int | None
    bitrate_kbps: float
    frame_rate: float
    key_frame_interval_s: float | None  #: between the two newest


@dataclass(frozen=True, slots=True)
class AudioReport:
    codec: str
    bitrate_kbps: float
    packet_rate: float


@dataclass(frozen=True, slots=True)
class StreamReport:
    """A stream of a user. `publisher` is the run or the peer that publishes it; `wrong` says what is wrong
    with a kind, for people. `pushes`: sessions that push it somewhere."""

    user_id: UserId
    stream: StreamIndex
    origin: StreamOrigin
    publisher: str
    kinds: tuple[str, ...]
    wrong: Mapping[str, str]
    video: VideoReport | None
    audio: AudioReport | None
    viewers: int
    pushes: int


@dataclass(frozen=True, slots=True)
class RoomUser:
    """`connections`: event streams, peers and runs that hold the user in the room; 0 while it lingers."""

    user_id: UserId
    connections: int


@dataclass(frozen=True, slots=True)
class RoomCounts:
    """`connecting` peers are in neither role yet."""

    users: int
    streams: int
    viewers: int
    publishers: int
    connecting: int


@dataclass(frozen=True, slots=True)
class RoomSummary:
    app_id: AppId
    room_id: RoomId
    counts: RoomCounts


@dataclass(frozen=True, slots=True)
class RoomDocument:
    """A room. Of its users, streams and peers those of the page that was asked for; `counts` has them all."""

    app_id: AppId
    room_id: RoomId
    counts: RoomCounts
    users: tuple[RoomUser, ...]
    streams: tuple[StreamReport, ...]
    peers: tuple[PeerReport, ...]


@dataclass(frozen=True, slots=True)
class Spread:
    mean: float
    worst: float


@dataclass(frozen=True, slots=True)
class ViewersReport:
    """What the connected viewers of a user's streams report: `reporting` of the `count` did lately."""

    count: int
    reporting: int = 0
    loss_percent: Spread | None = None
    jitter_ms: Spread | None = None
    round_trip_ms: Spread | None = None
    bitrate_kbps: float = 0.0  #: sent to all of them together in the last second


def spread(values: list[float]) -> Spread | None:
    """None of no values."""
    return Spread(round(sum(values) / len(values), 3), round(max(values), 3)) if values else None
