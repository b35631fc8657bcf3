"""WHEP over HTTP: tokens, ids and bodies are checked before the rooms hear of an offer.

What can be done with the peer afterwards is the same as for WHIP (test_whip.py).
"""

import pytest
from starlette.routing import Router
from structlog.testing import capture_logs

from sluice.api.admission import Admission
from sluice.api.whep import routes
from sluice.core.apps import App, Apps
from sluice.core.errors import BadInput, RoomError
from sluice.core.fairness import AdmissionLimits
from sluice.core.ids import AppId, RoomId, UserId
from sluice.core.rooms import StreamIndex, WatchOffer
from sluice.process.state import NodeState
from sluice.store.errors import StoreError
from sluice.wire.token import Grant, Privilege, make
from tests.testing import FakeBans, FakeRooms
from tests.unit.asgi import Answer, call

NOW = 1_800_000_000
APP = App(AppId("a" * 24), "key")
PATH = f"/whep/{APP.app_id}/room/publisher"


def token(room: str = "room", privileges: tuple[Privilege, ...] = (Privilege.SUBSCRIBE,)) -> str:
    return make(APP, Grant(room, "viewer", NOW, NOW + 60, dict.fromkeys(privileges, 0)))


class Whep:
    def __init__(self, limits: AdmissionLimits | None = None) -> None:
        self.rooms = FakeRooms()
        self.bans = FakeBans()
        self.now = float(NOW)
        self.state = NodeState()
        admission = Admission(limits, clock=lambda: self.now, state=self.state)
        self.app = Router(routes(self.rooms, Apps([APP]), self.bans, lambda: self.now, (), admission))

    def post(
        self,
        path: str = PATH,
        *,
        bearer: str | None = None,
        kind: str = "application/sdp",
        body: tuple[bytes, ...] = (b"v=0", b" offer"),
    ) -> Answer:
        headers = [("Content-Type", kind), ("Authorization", f"Bearer {bearer or token()}")]
        return call(self.app, "POST", path, headers, body)


def end(whep: Whep, location: str, bearer: str = "") -> int:
    return call(whep.app, "DELETE", location, [("Authorization", f"Bearer {bearer or token()}")]).status


@pytest.fixture
def whep() -> Whep:
    return Whep()


def test_a_defect_is_told_to_the_log(whep: Whep, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(whep.bans, "barred", fail)
    with capture_logs() as lines:
        assert whep.post().status == 503
    assert [(line["log_level"], str(line["exc_info"])) for line in lines] == [("error", "the disk is full")]


def test_an_offer_is_answered(whep: Whep) -> None:
    answer = whep.post()
    assert (answer.status, answer.body) == (201, b"v=0 answer")
    assert answer.headers["content-type"].startswith("application/sdp")
    assert answer.headers["location"] == f"{PATH}/peer_1"
    assert answer.headers["etag"] == '"ice-1"'
    assert whep.rooms.offers == [
        WatchOffer(
            APP.app_id, RoomId("room"), UserId("publisher"), StreamIndex.CAMERA, UserId("viewer"), "v=0 offer"
        )
    ]


@pytest.mark.parametrize("kind", ["application/sdp; charset=utf-8", "Application/SDP"])
def test_the_type_of_the_body_is_read_as_http_says(whep: Whep, kind: str) -> None:
    assert whep.post(kind=kind).status == 201


@pytest.mark.parametrize(("query", "stream"), [("?stream=screen", 1), ("?stream=camera", 0)])
def test_streams(whep: Whep, query: str, stream: int) -> None:
    assert whep.post(PATH + query).status == 201
    assert whep.rooms.offers[0].stream == stream


@pytest.mark.parametrize("kind", ["", "application/json", "text/plain"])
def test_another_type_is_415(whep: Whep, kind: str) -> None:
    answer = whep.post(kind=kind)
    assert answer.status == 415
    assert b"application/sdp" in answer.body


@pytest.mark.parametrize(
    "path",
    [
        f"{PATH}?stream=window",
        f"/whep/{APP.app_id}/ro%20om/publisher",
        f"/whep/{APP.app_id}/room/{'u' * 129}",
    ],
)
def test_bad_paths_are_400(whep: Whep, path: str) -> None:
    assert whep.post(path).status == 400
    assert whep.rooms.offers == []


@pytest.mark.parametrize("bearer", ["nonsense", token("another"), token() + "x"])
def test_a_token_that_is_worth_nothing_here_is_401(whep: Whep, bearer: str) -> None:
    answer = whep.post(bearer=bearer)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert whep.rooms.offers == []


def test_no_token_and_an_unknown_app_are_401(whep: Whep) -> None:
    assert call(whep.app, "POST", PATH, [("Content-Type", "application/sdp")]).status == 401
    assert whep.post(f"/whep/{'b' * 24}/room/publisher").status == 401
    # A token in the address would stand in logs: only event streams take one there.
    query = f"{PATH}?token={token()}"
    assert call(whep.app, "POST", query, [("Content-Type", "application/sdp")]).status == 401


def test_an_expired_token_is_401(whep: Whep) -> None:
    whep.now = NOW + 61
    assert whep.post().status == 401


def test_a_token_without_the_right_to_watch_is_403(whep: Whep) -> None:
    answer = whep.post(bearer=token(privileges=(Privilege.PUBLISH,)))
    assert answer.status == 403
    assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize("ban", [("room", "viewer"), ("room", None), (None, "viewer")])
def test_a_barred_user_is_403(whep: Whep, ban: tuple[RoomId | None, UserId | None]) -> None:
    whep.bans.until[ban] = NOW + 60
    answer = whep.post()
    assert (answer.status, answer.body) == (403, b"this user is barred from the room")
    assert whep.rooms.offers == []


def test_a_ban_that_comes_while_the_user_is_let_in_ends_the_peer(whep: Whep) -> None:
    def ban_once_he_is_in() -> None:
        if whep.rooms.offers:
            whep.bans.until[RoomId("room"), UserId("viewer")] = NOW + 60

    whep.bans.on_ask = ban_once_he_is_in
    assert whep.post().status == 403
    assert len(whep.rooms.offers) == 1
    assert not whep.rooms.peers


@pytest.mark.parametrize("body", [(b"x" * 40_000,) * 9, (b"v=0\xff",)])
def test_a_body_that_is_too_large_or_no_text_is_400(whep: Whep, body: tuple[bytes, ...]) -> None:
    answer = whep.post(body=body)
    assert answer.status == 400
    assert answer.chunks_read <= 2, "no more is read than the bound"


def test_what_the_rooms_say(whep: Whep) -> None:
    whep.rooms.error = BadInput("offer", "has no media section")
    answer = whep.post()
    assert (answer.status, answer.body) == (400, b"offer: has no media section")
    whep.rooms.error = RoomError("try again")
    answer = whep.post()
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert end(whep, f"{PATH}/peer_1") == 503


def test_a_node_that_is_being_stopped_takes_no_peer_and_lets_go_those_it_has(whep: Whep) -> None:
    location = whep.post().headers["location"]
    whep.state.drain()
    answer = whep.post()
    assert (answer.status, answer.chunks_read) == (503, 0)
    assert b"the node is being stopped" in answer.body
    assert end(whep, location) == 200


def test_the_end(whep: Whep) -> None:
    location = whep.post().headers["location"]
    assert [end(whep, location), end(whep, location)] == [200, 404]


def test_who_may_end_a_peer(whep: Whep) -> None:
    """His owner, with whatever token of his; the rooms find out whether he is."""
    location = whep.post().headers["location"]
    assert call(whep.app, "DELETE", location).status == 401
    assert [end(whep, location, bearer) for bearer in ("x", token(room="another"))] == [401, 401]
    assert whep.rooms.closed == []
    whep.now = NOW + 3600.0
    assert end(whep, location, token(privileges=())) == 200
    assert whep.rooms.closed == [UserId("viewer")]
    assert end(whep, f"{PATH}/{'x' * 200}") == 400


def test_who_joins_too_often_waits() -> None:
    whep = Whep(AdmissionLimits(token_joins=60))
    answers = [whep.post() for _ in range(61)]
    assert [answer.status for answer in answers] == [201] * 60 + [429]
    assert answers[-1].headers["retry-after"] == "1"
    assert answers[-1].body.endswith(b"try again in 1 s")
    assert answers[-1].chunks_read == 0, "nobody reads what he offers"
    whep.now += 0.75
    assert whep.post().body.endswith(b"in 1 s"), "which is never 0"
    whep.now += 0.25
    assert whep.post().status == 201


def test_tokens_worth_nothing_are_counted_and_a_right_one_passes() -> None:
    whep = Whep(AdmissionLimits(failed_logins=10))
    assert [whep.post(bearer="x").status for _ in range(12)] == [401] * 10 + [429] * 2
    assert whep.post().status == 201


def test_a_restart_needs_the_right_to_watch(whep: Whep) -> None:
    location = whep.post().headers["location"]
    headers = [("Content-Type", "application/trickle-ice-sdpfrag"), ("If-Match", "*")]
    for bearer, status in ((token(), 204), (token(privileges=(Privilege.PUBLISH,)), 403), ("x", 401)):
        bearers = [*headers, ("Authorization", f"Bearer {bearer}")]
        assert call(whep.app, "PATCH", location, bearers, (b"a=x",)).status == status
    assert [patch.user_id for patch in whep.rooms.patches] == ["viewer"]
