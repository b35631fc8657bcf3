"""WHEP: a browser watches one user of a room (draft-ietf-wish-whep; errors and CORS as RFC 9725).

``POST /whep/{app}/{room}/{user}`` with an SDP offer answers 201 with our answer and the peer's Location;
``DELETE`` there ends it. The Location cannot be guessed and is the right to end the peer. We are ICE-lite
and name all candidates in the answer: there is nothing to trickle, so PATCH is answered with 405.
"""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from sluice.api.bearer import path_id, refuse_barred, status_of, watching_user
from sluice.core.apps import Apps
from sluice.core.errors import BadInput, SluiceError
from sluice.core.ids import AppId, PeerId, RoomId, UserId
from sluice.rooms.port import Bans, RoomEngine, WatchOffer

_MOST_SDP = 64 << 10
_HINTS = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}


def routes(engine: RoomEngine, apps: Apps, bans: Bans, clock: Callable[[], float]) -> list[BaseRoute]:
    whep = _Whep(engine, apps, bans, clock)
    path = "/whep/{app_id}/{room_id}/{user_id}"
    return [
        Route(path, whep.offer, methods=["POST"]),
        Route(path + "/{peer_id}", whep.end, methods=["DELETE"]),
    ]


class _Whep:
    def __init__(self, engine: RoomEngine, apps: Apps, bans: Bans, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._apps = apps
        self._bans = bans
        self._clock = clock

    async def offer(self, request: Request) -> Response:
        try:
            return await self._answer(request)
        except SluiceError as error:
            return _failure(error)

    async def _answer(self, request: Request) -> Response:
        viewer = watching_user(request, self._apps, self._clock())
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/sdp":
            return PlainTextResponse("the body must be an offer of type application/sdp", 415)
        offer = WatchOffer(
            app_id=AppId(path_id(request, "app_id")),
            room_id=RoomId(path_id(request, "room_id")),
            user_id=UserId(path_id(request, "user_id")),
            stream=_stream_of(request),
            viewer=viewer,
            sdp=await _body(request),
        )
        await refuse_barred(self._bans, offer.app_id, offer.room_id, viewer)
        answer = await self._engine.watch(offer)
        try:
            await refuse_barred(self._bans, offer.app_id, offer.room_id, viewer)
        except SluiceError:
            await self._engine.close_peer(answer.peer_id)
            raise
        return Response(
            answer.sdp,
            status_code=201,
            media_type="application/sdp",
            headers={"Location": f"{request.url.path}/{answer.peer_id}", "ETag": f'"{answer.peer_id}"'},
        )

    async def end(self, request: Request) -> Response:
        try:
            found = await self._engine.close_peer(PeerId(str(request.path_params["peer_id"])))
        except SluiceError as error:
            return _failure(error)
        return Response(status_code=200 if found else 404)


def _stream_of(request: Request) -> int:
    """Stream 0 is the camera, 1 the screen (design 6)."""
    name = request.query_params.get("stream", "camera")
    if name not in ("camera", "screen"):
        raise BadInput("stream", "must be camera or screen")
    return 0 if name == "camera" else 1


async def _body(request: Request) -> str:
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MOST_SDP:
            raise BadInput("offer", f"must be smaller than {_MOST_SDP} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadInput("offer", "must be UTF-8") from None


def _failure(error: SluiceError) -> Response:
    status = status_of(error)
    return PlainTextResponse(str(error), status, _HINTS.get(status))
