"""``GET /rooms/{app}/{room}/events``: who is in a room and what they publish, as server-sent events.

The first event is the roster; each change is one more. The event `media` says which kinds the publisher of
a stream sends, and what is wrong with them. A user is in the room while he holds the stream open. A comment
line every 15 s keeps proxies from closing it. Streams end when `closing` is set: the server waits for them
before it stops.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from sluice.api.admission import Admission, address_of
from sluice.api.bearer import path_id, refuse_barred, watching_user
from sluice.api.peer import refused
from sluice.core.apps import Apps
from sluice.core.errors import SluiceError
from sluice.core.fairness import Holder
from sluice.core.ids import AppId, RoomId, UserId
from sluice.core.rooms import RoomEvent, RoomEventKind
from sluice.process.owned import part
from sluice.rooms.port import Bans, RoomEngine

_KEEP_ALIVE_S = 15.0


def routes(
    engine: RoomEngine,
    apps: Apps,
    bans: Bans,
    clock: Callable[[], float],
    closing: asyncio.Event,
    admission: Admission | None = None,
) -> list[BaseRoute]:
    guard = admission or Admission()

    async def events(request: Request) -> Response:
        try:
            user_id = watching_user(request, apps, clock(), query=True)
            app_id, room_id = AppId(path_id(request, "app_id")), RoomId(path_id(request, "room_id"))
            await refuse_barred(bans, app_id, room_id, user_id)
            holder = Holder((app_id, room_id), user_id, address_of(request))
            guard.check_stream(holder)
        except SluiceError as error:
            return refused(error, request, guard)
        return StreamingResponse(
            _seated(guard, holder, _stream(engine, bans, app_id, room_id, user_id, closing)),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    return [Route("/rooms/{app_id}/{room_id}/events", events, methods=["GET"])]


async def _seated(guard: Admission, holder: Holder, stream: AsyncIterator[str]) -> AsyncIterator[str]:
    """The stream, which takes a seat of its holder."""
    if guard.streams.refusal(holder):
        return  # others took the seats meanwhile; the caller comes back and is told
    guard.streams.take(holder)
    try:
        async for text in stream:
            yield text
    finally:
        guard.streams.give_back(holder)


async def _stream(
    engine: RoomEngine,
    bans: Bans,
    app_id: AppId,
    room_id: RoomId,
    user_id: UserId,
    closing: asyncio.Event,
) -> AsyncIterator[str]:
    try:
        async with engine.events(app_id, room_id, user_id) as events:
            await refuse_barred(bans, app_id, room_id, user_id)
            pending = part(anext(events, None), "the next event of a room")
            closed = part(closing.wait(), "the end of event streams")
            try:
                while not closed.done():
                    await asyncio.wait(
                        {pending, closed}, timeout=_KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED
                    )
                    if not pending.done():
                        yield ": still here\n\n"
                        continue
                    event = pending.result()
                    if event is None:
                        return
                    yield _text(event)
                    pending = part(anext(events, None), "the next event of a room")
            finally:
                pending.cancel()
                closed.cancel()
    except SluiceError:
        return  # the room's process is gone, or the user was banned; clients come back and are told


def _text(event: RoomEvent) -> str:
    document: dict[str, object] = {}
    if event.user_id is not None:
        document["user_id"] = event.user_id
    else:
        document["users"] = [
            {"user_id": entry.user_id, "streams": [published.stream for published in entry.streams]}
            for entry in event.roster
        ]
    if event.stream is not None:
        document["stream"] = event.stream
    if event.kind is RoomEventKind.MEDIA:
        document |= {"media": list(event.media.kinds), "trouble": dict(event.media.wrong)}
    return f"event: {event.kind.value}\ndata: {json.dumps(document)}\n\n"
