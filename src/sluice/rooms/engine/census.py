"""What a room process tells of its rooms, streams and peers: figures once a second, documents when asked.

Everything is made here of counters and reports that others keep. What an ended peer had counted is kept, so
that totals never go back.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from heapq import nsmallest
from itertools import islice
from typing import TypeVar

from sluice.core.addresses import network_of
from sluice.core.figures import (
    KEY_FRAMES_ASKED,
    LATE_VIEWERS,
    PEER_FAILURES,
    PEERS,
    PUSHED,
    REFUSALS,
    STREAMS,
    VIEWER_JITTER,
    VIEWER_LOSS,
    VIEWER_ROUND_TRIP,
    VIEWERS_BY_LOSS,
    Tally,
    Values,
)
from sluice.core.ids import AppId, RoomId
from sluice.core.room_documents import (
    PeerReport,
    PeerRole,
    PeerTraffic,
    RoomCounts,
    RoomDocument,
    RoomSummary,
    StreamOrigin,
    StreamReport,
    ViewersReport,
    Watched,
    spread,
)
from sluice.process.control import (
    AskRoom,
    AskRooms,
    AskViewers,
    Refused,
    RoomList,
    RoomShown,
    Viewers,
)
from sluice.rooms.engine.meter import kbps
from sluice.rooms.engine.peer import Role
from sluice.rooms.engine.peers import PeerEntry
from sluice.rooms.engine.publishing import Publishing
from sluice.rooms.engine.room import Publication, Room, StreamKey
from sluice.rooms.engine.stream import Stream, StreamCounts
from sluice.rooms.engine.watching import Watching

_RoomKey = tuple[AppId, RoomId]
_T = TypeVar("_T")

#: Viewers are counted by the first of these that their loss stays below.
_LOSS_CLASSES = ((1e-9, "0"), (0.01, "<1 %"), (0.05, "<5 %"), (0.10, "<10 %"))
_MORE, _UNKNOWN = "more", "unknown"
_CAUSES = (
    *((PEER_FAILURES, why) for why in ("ice", "dtls", "consent", "budget", "defect")),
    *((REFUSALS, why) for why in ("offer", "token", "full", "fragment")),
)


class Census:
    """`rooms` and `peers` are the engine's."""

    def __init__(
        self,
        rooms: Mapping[_RoomKey, Room],
        peers: Iterable[PeerEntry],
        streams: StreamCounts,
        clock_us: Callable[[], int],
    ) -> None:
        self._rooms = rooms
        self._peers = peers
        self._streams = streams
        self._clock_us = clock_us
        self._ended = Tally()
        for figure, label in (*Watching.counted, *Publishing.counted, *_CAUSES):
            self._ended.add(figure, 0, label)  # shown from the start, so that the first is seen as one

    def end(self, entry: PeerEntry) -> None:
        """A peer has ended; what it counted is kept."""
        if entry.peer.failure:
            self._ended.add(PEER_FAILURES, label=entry.peer.failure)
        role = entry.peer.role
        if role is not None:
            for (figure, label), count in zip(role.counted, role.counts(), strict=True):
                self._ended.add(figure, count, label)

    def refuse(self, refused: Refused) -> None:
        """A request was refused."""
        self._ended.add(REFUSALS, label="full" if refused.busy else refused.field)

    # --- figures ------------------------------------------------------------------------------------------

    def figures(self) -> tuple[Values, Values]:
        """Totals, and present values (core.figures.ROOM)."""
        roles = Counter(_phase(entry) for entry in self._peers)
        seen = _Seen(self._peers, self._clock_us())
        return self._totals(), {
            PEERS.name: {name: roles[name] for name in ("viewer", "publisher", "connecting")},
            STREAMS.name: self._published(),
            PUSHED.name: {"": sum(bool(stream.subscribers) for stream in self._all_streams())},
            VIEWERS_BY_LOSS.name: seen.classes(),
            VIEWER_LOSS.name: _spread_of(seen.losses),
            VIEWER_JITTER.name: _spread_of(seen.jitters),
            VIEWER_ROUND_TRIP.name: _spread_of(seen.round_trips),
        }

    def _totals(self) -> Values:
        tally = Tally()
        tally.merge(self._ended.values)
        tally.add(KEY_FRAMES_ASKED, self._streams.key_frames_asked)
        tally.add(LATE_VIEWERS, self._streams.late_viewers)
        rows: defaultdict[type[Role], list[tuple[int, ...]]] = defaultdict(list)
        for entry in self._peers:
            if entry.peer.role is not None:
                rows[type(entry.peer.role)].append(entry.peer.role.counts())
        for kind, counts in rows.items():
            for (figure, label), column in zip(kind.counted, zip(*counts, strict=True), strict=True):
                tally.add(figure, sum(column), label)
        return tally.values

    def _published(self) -> dict[str, int]:
        peers = {entry.peer.id for entry in self._peers}
        publishers = [
            publication.publisher
            for room in self._rooms.values()
            for publication in room.publications.values()
            if publication.visible
        ]
        by_peers = sum(publisher in peers for publisher in publishers)
        return {"relay": len(publishers) - by_peers, "peer": by_peers}

    def _all_streams(self) -> Iterable[Stream]:
        return (stream for room in self._rooms.values() for stream in room.streams.values())

    # --- documents ----------------------------------------------------------------------------------------

    def rooms(self, asked: AskRooms) -> RoomList:
        """In the order of app and room."""
        after = asked.after
        keys = nsmallest(asked.limit, (key for key in self._rooms if after is None or key > after))
        phases: dict[_RoomKey, Counter[str]] = {key: Counter() for key in keys}
        for entry in self._peers:
            key = entry.room.app_id, entry.room.room_id
            if key in phases:
                phases[key][_phase(entry)] += 1
        return RoomList(
            rooms=tuple(RoomSummary(*key, _counts(self._rooms[key], phases[key])) for key in keys)
        )

    def room(self, asked: AskRoom) -> RoomShown:
        room = self._rooms.get((asked.app_id, asked.room_id))
        return RoomShown(room=self._document(room, asked.offset, asked.limit) if room is not None else None)

    def _document(self, room: Room, offset: int, limit: int) -> RoomDocument:
        entries = [entry for entry in self._peers if entry.room is room]
        watched = Counter(entry.key for entry in entries if _phase(entry) == PeerRole.VIEWER.value)
        by_peer = {entry.peer.id for entry in entries}
        streams = [
            _stream(stream_key, stream, room.publications.get(stream_key), watched[stream_key], by_peer)
            for stream_key, stream in _page(sorted(room.streams.items(), key=_number), offset, limit)
        ]
        now_us = self._clock_us()
        return RoomDocument(
            *(room.app_id, room.room_id),
            _counts(room, Counter(map(_phase, entries))),
            users=tuple(_page(room.users(), offset, limit)),
            streams=tuple(streams),
            peers=tuple(_peer(entry, now_us) for entry in _page(entries, offset, limit)),
        )

    def viewers(self, asked: AskViewers) -> Viewers:
        """What the viewers of each user's streams report."""
        found: dict[Watched, list[PeerEntry]] = {key: [] for key in asked.watched}
        for entry in self._peers:
            if isinstance(entry.peer.role, Watching):
                key = entry.room.app_id, entry.room.room_id, entry.key[0]
                if key in found:
                    found[key].append(entry)
        now_us = self._clock_us()
        return Viewers(reports=tuple(_Seen(found[key], now_us).report() for key in asked.watched))


class _Seen:
    """What the connected viewers among these peers report."""

    def __init__(self, peers: Iterable[PeerEntry], now_us: int) -> None:
        self.count, self.octets_per_s = 0, 0.0
        self.losses: list[float] = []
        self.jitters: list[float] = []
        self.round_trips: list[float] = []
        for entry in peers:
            role = entry.peer.role
            if isinstance(role, Watching):
                self.count += 1
                self.octets_per_s += role.octets_per_s
                values = zip((self.losses, self.jitters, self.round_trips), role.reports(now_us), strict=True)
                for known, value in values:
                    if value is not None:
                        known.append(value)

    def classes(self) -> dict[str, int]:
        counts = dict.fromkeys([*(name for _, name in _LOSS_CLASSES), _MORE, _UNKNOWN], 0)
        for loss in self.losses:
            counts[next((name for below, name in _LOSS_CLASSES if loss < below), _MORE)] += 1
        counts[_UNKNOWN] = self.count - len(self.losses)
        return counts

    def report(self) -> ViewersReport:
        return ViewersReport(
            count=self.count,
            reporting=len(self.jitters),
            loss_percent=spread([100 * loss for loss in self.losses]),
            jitter_ms=spread([1000 * jitter for jitter in self.jitters]),
            round_trip_ms=spread([1000 * trip for trip in self.round_trips]),
            bitrate_kbps=kbps(self.octets_per_s),
        )


def _spread_of(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return {"mean": sum(ordered) / len(ordered), "p95": p95, "max": ordered[-1]}


def _phase(entry: PeerEntry) -> str:
    return entry.role.value if entry.peer.role is not None else "connecting"


def _counts(room: Room, phases: Mapping[str, int]) -> RoomCounts:
    return RoomCounts(
        users=room.population,
        streams=sum(publication.visible for publication in room.publications.values()),
        viewers=phases.get("viewer", 0),
        publishers=phases.get("publisher", 0),
        connecting=phases.get("connecting", 0),
    )


def _page(items: Iterable[_T], offset: int, limit: int) -> Iterable[_T]:
    return islice(items, offset, offset + limit)


def _number(item: tuple[StreamKey, Stream]) -> StreamKey:
    return item[0]


def _stream(
    key: StreamKey, stream: Stream, publication: Publication | None, viewers: int, peers: Collection[str]
) -> StreamReport:
    media = publication.media if publication is not None else None
    publisher = publication.publisher if publication is not None and publication.visible else ""
    origin = StreamOrigin.PEER if publisher in peers else StreamOrigin.RELAY
    kinds = media.kinds if media is not None else ()
    return StreamReport(
        *key,
        origin=origin if publisher else StreamOrigin.NOWHERE,
        publisher=publisher,
        kinds=kinds,
        wrong=media.wrong if media is not None else {},
        video=stream.video_report() if "video" in kinds else None,
        audio=stream.audio_report() if "audio" in kinds else None,
        viewers=viewers,
        pushes=len(stream.subscribers),
    )


def _peer(entry: PeerEntry, now_us: int) -> PeerReport:
    peer = entry.peer
    return PeerReport(
        id=peer.id,
        user_id=entry.user_id,
        role=entry.role,
        state=peer.phase.value,
        since=round(entry.since, 3),
        of_user_id=entry.key[0],
        stream=entry.key[1],
        network=network_of(peer.address[0] if peer.address is not None else entry.holder.address),
        traffic=peer.role.traffic(now_us) if peer.role is not None else PeerTraffic(),
        dropped=peer.conduct.drops.counts,
    )
