"""What a node asks of its room engine, and is told by it. Its nouns are in `core.rooms`.

HTTP knows `RoomEngine` and `Bans`, tasks know `RunRooms`, and callbacks listen (`RoomListener`). Our own
engine is `rooms.client` with the processes of `rooms.engine`; another one (another SFU) is a second
implementation of `Rooms`, which `app` makes instead.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from sluice.core.ids import AppId, PeerId, RoomId, RunId, UserId
from sluice.core.room_documents import RoomDocument, RoomSummary, ViewersReport, Watched
from sluice.core.rooms import (
    LinkAddress,
    PatchAnswer,
    PeerAnswer,
    PeerPatch,
    PublishOffer,
    RoomChange,
    RoomEvent,
    RosterEntry,
    WatchOffer,
)


class RoomEngine(Protocol):
    """What HTTP asks for."""

    async def watch(self, offer: WatchOffer) -> PeerAnswer:
        """Answers a WHEP offer. Raises BadInput for an offer that cannot be answered, Overloaded when there
        is no room for another peer, RoomError when the room's process is not there."""
        ...

    async def publish(self, offer: PublishOffer) -> PeerAnswer:
        """Answers a WHIP offer; whoever published the stream before is ended. Raises as `watch`, and
        AccessRefused for a kind that is offered and not allowed."""
        ...

    async def patch_peer(self, patch: PeerPatch) -> PatchAnswer:
        """Takes trickled candidates, or restarts ICE. Raises BadInput and RoomError."""
        ...

    async def peer_sends(
        self, app_id: AppId, room_id: RoomId, user_id: UserId, peer_id: PeerId, kinds: Collection[str]
    ) -> bool:
        """From now on the user's publishing peer sends these kinds, and no others. False when there is no
        such peer. Raises RoomError, and Overloaded when it says so too often."""
        ...

    async def close_peer(self, app_id: AppId, room_id: RoomId, user_id: UserId, peer_id: PeerId) -> bool:
        """False when the user has no such peer in the room."""
        ...

    def events(
        self, app_id: AppId, room_id: RoomId, user_id: UserId
    ) -> AbstractAsyncContextManager[AsyncIterator[RoomEvent]]:
        """The user is in the room for as long as the context is open. The first event is the roster, with
        him. The iterator ends when he is expelled, when the room is lost, or when the reader is too slow.
        Entering raises RoomError, and Overloaded when there is no room for him."""
        ...

    async def roster(self, app_id: AppId, room_id: RoomId) -> tuple[RosterEntry, ...]:
        """Who is in a room; nobody where there is no such room. Raises RoomError."""
        ...

    async def rooms(self, after: tuple[AppId, RoomId] | None, limit: int) -> tuple[RoomSummary, ...]:
        """The first `limit` rooms behind this app and room (it need not exist), in their order. Rooms whose
        process has just died are gone. Raises RoomError."""
        ...

    async def room(self, app_id: AppId, room_id: RoomId, *, offset: int, limit: int) -> RoomDocument | None:
        """A room, with the `limit` users, streams and peers from `offset` on; None where there is no such
        room. Raises RoomError."""
        ...

    async def expel(self, app_id: AppId, room_id: RoomId | None, user_id: UserId | None) -> None:
        """Users leave at once: their peers, event streams and publications end. Without `room_id` all rooms
        of the app are meant, without `user_id` everybody. Raises RoomError."""
        ...


class RunRooms(Protocol):
    """What tasks ask for. `on_silence` is theirs: it is told which rooms are silent from now on, or heard
    again."""

    on_silence: Callable[[Callable[[AppId, RoomId], bool], bool], None]

    def link_of(self, app_id: AppId, room_id: RoomId) -> LinkAddress:
        """Where media sessions reach the room."""
        ...

    async def viewers(self, watched: Collection[Watched]) -> Mapping[Watched, ViewersReport]:
        """What the viewers of these users report. Those whose room nobody can ask now are left out."""
        ...

    def is_silent(self, app_id: AppId, room_id: RoomId) -> bool:
        """Whether nobody knows what becomes of the room at present."""
        ...

    def hold(self, app_id: AppId, room_id: RoomId, user_id: UserId, run_id: RunId) -> None:
        """The run's virtual user is in the room until it is retired, also when the room was lost and
        begins anew."""
        ...

    def retire(self, app_id: AppId, room_id: RoomId, run_id: RunId) -> None:
        """The run is over: its virtual user leaves."""
        ...


class RoomListener(Protocol):
    """Who is told of every room."""

    def on_change(self, change: RoomChange) -> None:
        """The changes of one room come in their order."""
        ...

    def on_loss(self, lost: Callable[[AppId, RoomId], bool]) -> None:
        """The rooms that are `lost` are gone, with everybody in them; nothing else is told of that."""
        ...


class Rooms(RoomEngine, RunRooms, Protocol):
    """All that a room engine is to its node."""

    def listen(self, listener: RoomListener) -> None:
        """From now on this listener is told, instead of the one before."""
        ...


class Bans(Protocol):
    """Who may not enter. Whoever lets a user in asks before, and asks again when he is in, so that no ban
    slips through in between."""

    async def ban(
        self, app_id: AppId, room_id: RoomId | None, user_id: UserId | None, until: float | None
    ) -> None:
        """A user may not enter a room (any, without `room_id`), or nobody may (without `user_id`), until
        that Unix time; None lifts the ban. Durable when it returns. Raises TooManyBans."""
        ...

    async def barred(self, app_id: AppId, room_id: RoomId, user_id: UserId) -> bool: ...
