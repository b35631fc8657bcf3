"""WHIP: a browser, OBS or any other client publishes its camera or screen into a room (RFC 9725).

``POST /whip/{app}/{room}`` with an SDP offer answers 201 with our answer and the peer's Location. The token
names the user that publishes. ``?stream=screen`` publishes that user's second stream. See `api.peer` for what
can be done at the Location.
"""

from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from sluice.api.admission import Admission
from sluice.api.bearer import path_id, publishing_user
from sluice.api.peer import SDP, PeerResource, body_of, stream_of
from sluice.core.apps import Apps
from sluice.core.ice_servers import IceServer
from sluice.core.ids import AppId, RoomId
from sluice.core.rooms import PublishOffer
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
        lambda request: publishing_user(request, apps, clock())[0],
        admission or Admission(),
    )

    async def offer(request: Request) -> Response:
        user_id, kinds = publishing_user(request, apps, clock())
        address = peers.knock(request, user_id)
        publish = PublishOffer(
            app_id=AppId(path_id(request, "app_id")),
            room_id=RoomId(path_id(request, "room_id")),
            user_id=user_id,
            stream=stream_of(request),
            kinds=kinds,
            sdp=await body_of(request, SDP),
            address=address,
        )
        answer = await peers.admit(publish.app_id, publish.room_id, user_id, lambda: engine.publish(publish))
        return peers.created(request, answer)

    return peers.routes("/whip/{app_id}/{room_id}", offer)
