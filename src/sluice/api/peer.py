"""The HTTP resource of a WebRTC peer, the same for WHIP and WHEP (RFC 9725 4).

An offer that is posted to an endpoint makes a peer. Only the peer's own user may use its Location. ``DELETE``
ends the peer; the token may have lapsed. ffmpeg, GStreamer and OBS send one; clients that send no ``DELETE``
are found by ICE and DTLS within half a minute. ``PATCH`` trickles candidates or restarts ICE. The ETag names
the ICE session, so that requests for an older one are recognised (4.3.1). With a JSON body ``PATCH`` says
which kinds a publisher sends from now on: ``{"sends": ["audio"]}``.
"""

import json
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from sluice.api.admission import Admission, address_of
from sluice.api.bearer import owner, path_id, refuse_barred, status_of
from sluice.api.proxies import prefix_of
from sluice.core.apps import Apps
from sluice.core.errors import AccessRefused, BadInput, SluiceError
from sluice.core.fairness import Holder, TooOften
from sluice.core.ice_servers import IceServer
from sluice.core.ids import AppId, PeerId, RoomId, UserId
from sluice.core.limits import MOST_IF_MATCH_BYTES, MOST_OFFER_BYTES
from sluice.core.rooms import PatchOutcome, PeerAnswer, PeerPatch, StreamIndex
from sluice.rooms.port import Bans, RoomEngine

log = structlog.get_logger(__name__)

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

SDP, FRAGMENT = "application/sdp", "application/trickle-ice-sdpfrag"
_JSON = "application/json"
_PATCHES = f"{FRAGMENT}, {_JSON}"
_HINTS = {
    401: {"WWW-Authenticate": "Bearer"},
    415: {"Accept-Post": SDP, "Accept-Patch": _PATCHES},
    503: {"Retry-After": "1"},
}
_SAID = {
    PatchOutcome.STALE: (412, "this is not the ETag of the peer's ICE session; restart ICE with If-Match: *"),
    PatchOutcome.UNKNOWN: (404, "there is no such peer of yours any more; offer again"),
    PatchOutcome.REPLACED: (410, "another connection publishes this stream now"),
}


class PeerResource:
    """`user_of` returns the user of a request if he may do what the endpoint is for, else it raises
    AccessRefused."""

    def __init__(
        self,
        engine: RoomEngine,
        apps: Apps,
        bans: Bans,
        ice_servers: Sequence[IceServer],
        user_of: Callable[[Request], UserId],
        admission: Admission,
    ) -> None:
        self._engine = engine
        self._apps = apps
        self._bans = bans
        self._admission = admission
        self._links = ", ".join(_link(server) for server in ice_servers)
        self._user_of = user_of

    def routes(self, path: str, offer: Handler) -> list[BaseRoute]:
        """The routes of the endpoint at `path`, to which `offer` is posted, and of its peers."""
        resource = path + "/{peer_id}"
        return [
            Route(path, self._answered(offer), methods=["POST"]),
            Route(path, _options, methods=["OPTIONS"]),
            Route(resource, self._answered(self._patch), methods=["PATCH"]),
            Route(resource, self._answered(self._end), methods=["DELETE"]),
            Route(resource, _options, methods=["OPTIONS"]),
        ]

    def knock(self, request: Request, user_id: UserId) -> str:
        """To be called before the body of an offer is read. Returns the caller's address. Raises TooOften."""
        room = path_id(request, "app_id"), path_id(request, "room_id")
        address = address_of(request)
        self._admission.join(Holder(room, user_id, address))
        return address

    async def admit(
        self,
        app_id: AppId,
        room_id: RoomId,
        user_id: UserId,
        make: Callable[[], Awaitable[PeerAnswer]],
    ) -> PeerAnswer:
        """The peer that `make` makes, unless its user is barred then or becomes so meanwhile."""
        await refuse_barred(self._bans, app_id, room_id, user_id)
        answer = await make()
        try:
            await refuse_barred(self._bans, app_id, room_id, user_id)
        except SluiceError:
            await self._engine.close_peer(app_id, room_id, user_id, answer.peer_id)
            raise
        return answer

    def created(self, request: Request, answer: PeerAnswer) -> Response:
        # With the whole path, since some clients do not resolve relative ones.
        place = f"{prefix_of(request.scope)}{request.url.path}/{answer.peer_id}"
        headers = {"Location": place, "ETag": f'"{answer.etag}"'}
        if self._links:
            headers["Link"] = self._links
        return Response(answer.sdp, 201, headers, SDP)

    async def _patch(self, request: Request) -> Response:
        user_id = self._user_of(request)
        if _type_of(request) == _JSON:
            return await self._note_media(request, user_id)
        fragment = await body_of(request, FRAGMENT)
        if_match = request.headers.get("if-match")
        if if_match is None:
            text = "send the header If-Match: the ETag of this ICE session, or * to restart ICE"
            return PlainTextResponse(text, 428)
        if len(if_match) > MOST_IF_MATCH_BYTES:
            raise BadInput("If-Match", f"must have {MOST_IF_MATCH_BYTES} bytes at most")
        answer = await self._engine.patch_peer(
            PeerPatch(
                app_id=AppId(path_id(request, "app_id")),
                room_id=RoomId(path_id(request, "room_id")),
                user_id=user_id,
                peer_id=_peer_id(request),
                # Weak tags keep their W/ and match nothing (RFC 9110 13.1.1).
                etags=tuple(etag.strip().strip('"') for etag in if_match.split(",")),
                fragment=fragment,
            )
        )
        if answer.outcome is PatchOutcome.TAKEN:
            return Response(status_code=204)
        if answer.outcome is PatchOutcome.RESTARTED:
            return Response(answer.fragment, 200, {"ETag": f'"{answer.etag}"'}, FRAGMENT)
        if answer.outcome is PatchOutcome.ENDED:
            return PlainTextResponse(f"the server ended this connection: {answer.why}", 410)
        status, text = _SAID[answer.outcome]
        return PlainTextResponse(text, status)

    async def _note_media(self, request: Request, user_id: UserId) -> Response:
        """Notes which kinds a publisher sends from now on. A page whose camera is turned off can say so in no
        other way, and missing pictures would count as a fault."""
        found = await self._engine.peer_sends(
            AppId(path_id(request, "app_id")),
            RoomId(path_id(request, "room_id")),
            user_id,
            _peer_id(request),
            _sends_of(await body_of(request, _JSON)),
        )
        return Response(status_code=204) if found else PlainTextResponse(_SAID[PatchOutcome.UNKNOWN][1], 404)

    async def _end(self, request: Request) -> Response:
        user_id = owner(request, self._apps)
        found = await self._engine.close_peer(
            AppId(path_id(request, "app_id")),
            RoomId(path_id(request, "room_id")),
            user_id,
            _peer_id(request),
        )
        return Response(status_code=200 if found else 404)

    def _answered(self, handler: Handler) -> Handler:
        """The handler, with errors answered to the client."""

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except SluiceError as error:
                return refused(error, request, self._admission)

        return handle


class _WrongType(BadInput):
    pass


def refused(error: SluiceError, request: Request, admission: Admission) -> Response:
    """The answer to the client of a room's resource."""
    if isinstance(error, AccessRefused) and not error.known:
        try:
            admission.fail(address_of(request))
        except TooOften as often:
            error = often
    if error.culprit.is_defect:
        log.error("x call", path=request.url.path, exc_info=error)
    status = 415 if isinstance(error, _WrongType) else status_of(error)
    headers = dict(_HINTS.get(status, {}))
    if isinstance(error, TooOften):
        headers["Retry-After"] = str(math.ceil(error.wait_s))
    return PlainTextResponse(str(error), status, headers)


async def body_of(request: Request, kind: str) -> str:
    """The body, which must be of this media type. Raises BadInput."""
    if _type_of(request) != kind:
        raise _WrongType("Content-Type", f"the body must be of type {kind}")
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > MOST_OFFER_BYTES:
            raise BadInput("body", f"must be smaller than {MOST_OFFER_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadInput("body", "must be UTF-8") from None


def _type_of(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _sends_of(text: str) -> set[str]:
    """The kinds in ``{"sends": ["audio", "video"]}``. Raises BadInput."""
    try:
        sends = set(json.loads(text)["sends"])
    except (ValueError, TypeError, KeyError, RecursionError):
        sends = {"?"}
    if not sends <= {"audio", "video"}:
        raise BadInput("sends", 'must be a list of the kinds that are sent: "audio", "video", both or none')
    return sends


def stream_of(request: Request) -> StreamIndex:
    """Raises BadInput."""
    name = request.query_params.get("stream", "camera")
    if name not in ("camera", "screen"):
        raise BadInput("stream", "must be camera or screen")
    return StreamIndex[name.upper()]


def _peer_id(request: Request) -> PeerId:
    return PeerId(path_id(request, "peer_id"))


async def _options(request: Request) -> Response:
    # RFC 9725 4.2. What browsers ask before a request (CORS) is answered where all resources of a room are.
    return Response(status_code=200, headers={"Accept-Post": SDP, "Accept-Patch": _PATCHES})


def _link(server: IceServer) -> str:
    """RFC 9725 4.6."""
    link = f'<{server.url}>; rel="ice-server"'
    if server.username:
        name, password = _quoted(server.username), _quoted(server.credential)
        link += f'; username={name}; credential={password}; credential-type="password"'
    return link


def _quoted(text: str) -> str:
    """RFC 9110 5.6.4."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
