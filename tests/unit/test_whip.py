"""WHIP over HTTP (RFC 9725): who may publish what, and all that can be done at the peer's Location."""

import pytest
from starlette.routing import Router

from sluice.api.whip import routes
from sluice.core.apps import App, Apps
from sluice.core.errors import AccessRefused, BadInput, Overloaded, RoomError
from sluice.core.ice_servers import IceServer
from sluice.core.ids import AppId, PeerId, RoomId, UserId
from sluice.core.rooms import PatchAnswer, PatchOutcome, PeerPatch, PublishOffer, StreamIndex
from sluice.wire.token import Grant, Privilege, make
from tests.testing import FakeBans, FakeRooms
from tests.unit.asgi import Answer, call

NOW = 1_800_000_000
APP = App(AppId("a" * 24), "key")
PATH = f"/whip/{APP.app_id}/room"
PUBLISH, AUDIO, VIDEO = Privilege.PUBLISH, Privilege.PUBLISH_AUDIO, Privilege.PUBLISH_VIDEO
FRAGMENT = "application/trickle-ice-sdpfrag"


def token(*privileges: Privilege, room: str = "room", user: str = "anna") -> str:
    return make(APP, Grant(room, user, NOW, NOW + 60, dict.fromkeys(privileges or (PUBLISH,), 0)))


class Whip:
    def __init__(self, *ice_servers: IceServer) -> None:
        self.rooms = FakeRooms()
        self.rooms.patched = PatchAnswer(PatchOutcome.TAKEN)
        self.now = float(NOW)
        self.app = Router(routes(self.rooms, Apps([APP]), FakeBans(), lambda: self.now, ice_servers))

    def post(self, path: str = PATH, *, bearer: str | None = None, kind: str = "application/sdp") -> Answer:
        headers = [("Content-Type", kind), ("Authorization", f"Bearer {bearer or token()}")]
        return call(self.app, "POST", path, headers, (b"v=0 offer",))

    def patch(
        self,
        *,
        if_match: str | None = '"ice-1"',
        bearer: str | None = None,
        kind: str = FRAGMENT,
        body: bytes = b"a=ice-ufrag:u",
    ) -> Answer:
        headers = [("Content-Type", kind), ("Authorization", f"Bearer {bearer or token()}")]
        headers += [("If-Match", if_match)] if if_match is not None else []
        return call(self.app, "PATCH", f"{PATH}/peer_1", headers, (body,))


@pytest.fixture
def whip() -> Whip:
    return Whip()


def test_an_offer_is_answered(whip: Whip) -> None:
    answer = whip.post()
    assert (answer.status, answer.body) == (201, b"v=0 answer")
    assert answer.headers["content-type"].startswith("application/sdp")
    assert (answer.headers["location"], answer.headers["etag"]) == (f"{PATH}/peer_1", '"ice-1"')
    assert "link" not in answer.headers
    kinds = ("audio", "video")
    assert whip.rooms.offers == [
        PublishOffer(APP.app_id, RoomId("room"), UserId("anna"), StreamIndex.CAMERA, kinds, "v=0 offer")
    ]


@pytest.mark.parametrize(("query", "stream"), [("?stream=screen", 1), ("?stream=camera", 0), ("", 0)])
def test_streams(whip: Whip, query: str, stream: int) -> None:
    assert whip.post(PATH + query).status == 201
    assert whip.rooms.offers[0].stream == stream


@pytest.mark.parametrize(
    ("privileges", "kinds"),
    [((AUDIO,), ("audio",)), ((VIDEO,), ("video",)), ((AUDIO, VIDEO), ("audio", "video"))],
)
def test_the_kinds_that_a_token_allows(
    whip: Whip, privileges: tuple[Privilege, ...], kinds: tuple[str, ...]
) -> None:
    assert whip.post(bearer=token(*privileges)).status == 201
    offer = whip.rooms.offers[0]
    assert isinstance(offer, PublishOffer)
    assert offer.kinds == kinds


def test_a_token_without_the_right_to_publish_is_403(whip: Whip) -> None:
    answer = whip.post(bearer=token(Privilege.SUBSCRIBE))
    assert answer.status == 403
    assert b"publish" in answer.body
    assert whip.rooms.offers == []


@pytest.mark.parametrize("bearer", ["nonsense", token(room="another"), token() + "x"])
def test_a_token_that_is_worth_nothing_here_is_401(whip: Whip, bearer: str) -> None:
    answer = whip.post(bearer=bearer)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert whip.rooms.offers == []


def test_what_cannot_be_read_is_refused(whip: Whip) -> None:
    answer = whip.post(kind="text/plain")
    assert (answer.status, answer.headers["accept-post"]) == (415, "application/sdp")
    assert whip.post(f"{PATH}?stream=window").status == 400
    assert whip.post(f"/whip/{APP.app_id}/ro%20om").status == 400
    whip.now = NOW + 61
    assert whip.post().status == 401


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadInput("offer", "offer H.264"), 400),
        (AccessRefused("not video", known=True), 403),
        (Overloaded("full"), 503),
        (RoomError("try again"), 503),
    ],
)
def test_what_the_rooms_say(whip: Whip, error: Exception, status: int) -> None:
    whip.rooms.error = error
    answer = whip.post()
    assert (answer.status, answer.body.decode()) == (status, str(error))
    assert whip.patch().status == status


def test_ice_servers_are_named_in_a_link() -> None:
    """RFC 9725 4.6, its figure; quotes as RFC 9110 5.6.4 says."""
    turn = IceServer("turn:turn.example.net?transport=udp", "user", 'my"Pass\\word')
    answer = Whip(IceServer("stun:stun.example.net"), turn).post()
    assert answer.headers["link"] == (
        '<stun:stun.example.net>; rel="ice-server", '
        '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="user"; '
        'credential="my\\"Pass\\\\word"; credential-type="password"'
    )


@pytest.mark.parametrize("path", [PATH, f"{PATH}/peer_1"])
def test_options_say_what_is_taken(whip: Whip, path: str) -> None:
    answer = call(whip.app, "OPTIONS", path)
    assert (answer.status, answer.headers["accept-post"]) == (200, "application/sdp")


@pytest.mark.parametrize(("method", "path"), [("GET", PATH), ("PUT", PATH), ("POST", f"{PATH}/peer_1")])
def test_other_methods_are_405(whip: Whip, method: str, path: str) -> None:
    assert call(whip.app, method, path).status == 405


# --- the peer ---------------------------------------------------------------------------------------------


def test_the_end(whip: Whip) -> None:
    location = whip.post().headers["location"]
    bearer = [("Authorization", f"Bearer {token()}")]
    assert call(whip.app, "DELETE", location, bearer).status == 200
    assert call(whip.app, "DELETE", location, bearer).status == 404
    assert whip.rooms.closed == [UserId("anna")]


def test_trickled_candidates_are_taken(whip: Whip) -> None:
    answer = whip.patch(if_match='"ice-0", "ice-1", W/"ice-2"', body=b"a=candidate:1")
    assert (answer.status, answer.body) == (204, b"")
    assert whip.rooms.patches == [
        PeerPatch(
            APP.app_id,
            RoomId("room"),
            UserId("anna"),
            PeerId("peer_1"),
            ("ice-0", "ice-1", 'W/"ice-2'),
            "a=candidate:1",
        )
    ]


def test_a_restart_is_answered_with_our_new_side(whip: Whip) -> None:
    whip.rooms.patched = PatchAnswer(PatchOutcome.RESTARTED, "ice-2", "a=ice-ufrag:ice-2")
    answer = whip.patch(if_match="*")
    assert (answer.status, answer.headers["etag"], answer.body) == (200, '"ice-2"', b"a=ice-ufrag:ice-2")
    assert answer.headers["content-type"] == FRAGMENT
    assert whip.rooms.patches[0].etags == ("*",)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(PatchOutcome.STALE, 412), (PatchOutcome.UNKNOWN, 404), (PatchOutcome.REPLACED, 410)],
)
def test_patches_that_come_too_late(whip: Whip, outcome: PatchOutcome, status: int) -> None:
    whip.rooms.patched = PatchAnswer(outcome)
    answer = whip.patch()
    assert answer.status == status
    assert answer.body


def test_who_was_ended_is_told_why(whip: Whip) -> None:
    whip.rooms.patched = PatchAnswer(PatchOutcome.ENDED, why="it sends more than 800 RTCP packets a second")
    answer = whip.patch()
    assert (answer.status, answer.body.endswith(b"800 RTCP packets a second")) == (410, True)


def test_a_patch_says_which_session_it_is_for(whip: Whip) -> None:
    answer = whip.patch(if_match=None)
    assert answer.status == 428
    assert b"If-Match" in answer.body
    assert whip.rooms.patches == []


@pytest.mark.parametrize("tag", ["A" * 4_400_000, ",".join(['"a"'] * 1000), "," * 60_000])
def test_a_patch_with_too_many_tags(whip: Whip, tag: str) -> None:
    """They would travel to the room process, which ends at a message of 4 MB."""
    answer = whip.patch(if_match=tag)
    assert (answer.status, answer.body[:8]) == (400, b"If-Match")
    assert whip.rooms.patches == []


def test_a_patch_of_another_type_is_415(whip: Whip) -> None:
    answer = whip.patch(kind="application/sdp")
    assert (answer.status, answer.headers["accept-patch"]) == (415, f"{FRAGMENT}, application/json")


def test_a_publisher_says_what_it_sends(whip: Whip) -> None:
    whip.post()
    assert whip.patch(kind="application/json", if_match=None, body=b'{"sends": ["audio"]}').status == 204
    assert whip.rooms.sends == [{"audio"}]
    whip.rooms.peers.clear()
    assert whip.patch(kind="application/json", body=b'{"sends": []}').status == 404
    for body in (b"", b"{}", b"[]", b'{"sends": "audio"}', b'{"sends": [["audio"]]}', b'{"sends": ["x"]}'):
        answer = whip.patch(kind="application/json", body=body)
        assert (answer.status, answer.body[:5]) == (400, b"sends")


def test_the_token_is_checked_again(whip: Whip) -> None:
    assert whip.patch(bearer=token(Privilege.SUBSCRIBE)).status == 403
    whip.now = NOW + 61
    assert whip.patch().status == 401
    assert whip.rooms.patches == []
