"""WHEP: a browser watches one user of a room (draft-ietf-wish-whep).

``POST /whep/{app}/{room}/{user}`` with an SDP offer answers 201 with our answer and the peer's Location;
``?stream=screen`` watches that user's second stream. See `api.peer` for what can be done at the Location.
"""

from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from sluice.api.admission import Admission
from sluice.api.bearer import path_id, watching_user
from sluice.api.peer import SDP, PeerResource, body_of, stream_of
from sluice.core.apps import Apps
from sluice.core.ice_servers import IceServer
from sluice.core.ids import AppId, RoomId, UserId
from sluice.core.rooms import WatchOffer
from sluice.rooms.port import Bans, RoomEngine


def routes(
    engine: RoomEngine,
    apps: Apps,
    bans: Bans,
    clock: Callable[[], float],
    ice_servers: Sequence[IceServer] = (),
    admission: Admission | None = None,
) -> list[BaseRoute]:
    peers = PeerResource(
        engine,
        apps,
        bans,
        ice_servers,
        lambda request: watching_user(request, apps, clock()),
        admission or Admission(),
    )

    async def offer(request: Request) -> Response:
        viewer = watching_user(request, apps, clock())
        address = peers.knock(request, viewer)
        watch = WatchOffer(
            app_id=AppId(path_id(request, "app_id")),
            room_id=RoomId(path_id(request, "room_id")),
            user_id=UserId(path_id(request, "user_id")),
            stream=stream_of(request),
            viewer=viewer,
            sdp=await body_of(request, SDP),
            address=address,
        )
        answer = await peers.admit(watch.app_id, watch.room_id, viewer, lambda: engine.watch(watch))
        return peers.created(request, answer)

    return peers.routes("/whep/{app_id}/{room_id}/{user_id}", offer)
