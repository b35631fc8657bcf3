"""What callers name and send is bounded before it becomes a message to a room process."""

import pytest

from sluice.core.errors import BadInput, Overloaded, RoomError
from sluice.core.ids import AppId, PeerId, RoomId, UserId
from sluice.core.limits import MOST_ETAGS, MOST_OFFER_BYTES
from sluice.core.rooms import PatchAnswer, PatchOutcome, PeerPatch, StreamIndex, WatchOffer
from sluice.process.channel import ChannelBusy, ChannelClosed, MessageRefused
from sluice.process.control import Message, Patched, PatchPeer
from sluice.process.supervisor import ChildSpec, Supervised
from sluice.rooms.client import RoomProcesses

pytestmark = pytest.mark.anyio

APP, ROOM, USER = AppId("app"), RoomId("room"), UserId("anna")
PEER = PeerId("peer")
LONG = PeerId("x" * 4_000_000)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """What reaches the channel."""
    messages: list[Message] = []

    async def request(process: Supervised, message: Message) -> Message:
        messages.append(message)
        return Patched(answer=PatchAnswer(PatchOutcome.TAKEN))

    monkeypatch.setattr(Supervised, "request", request)
    return messages


@pytest.fixture
def rooms() -> RoomProcesses:
    return RoomProcesses([ChildSpec("room", "nothing", {"link": "nowhere"})])


def patch(*etags: str, peer_id: PeerId = PEER, fragment: str = "") -> PeerPatch:
    return PeerPatch(APP, ROOM, USER, peer_id, etags, fragment)


async def test_what_can_be_no_peer_is_not_asked_for(rooms: RoomProcesses, asked: list[Message]) -> None:
    assert (await rooms.patch_peer(patch("a", peer_id=LONG))).outcome is PatchOutcome.UNKNOWN
    assert not await rooms.peer_sends(APP, ROOM, USER, LONG, ("audio",))
    assert not await rooms.close_peer(APP, ROOM, USER, LONG)
    assert asked == []


async def test_tags_that_can_be_none_of_ours_are_left_out(rooms: RoomProcesses, asked: list[Message]) -> None:
    await rooms.patch_peer(patch("ours", "y" * 4_400_000))
    (message,) = asked
    assert isinstance(message, PatchPeer)
    assert message.patch.etags == ("ours",)
    with pytest.raises(BadInput, match=f"If-Match: must name at most {MOST_ETAGS} ETags"):
        await rooms.patch_peer(patch(*("a",) * (MOST_ETAGS + 1)))


async def test_what_is_too_large_is_refused_with_the_limit(
    rooms: RoomProcesses, asked: list[Message]
) -> None:
    large = "v" * (MOST_OFFER_BYTES + 1)
    with pytest.raises(BadInput, match=f"at most {MOST_OFFER_BYTES} bytes"):
        await rooms.patch_peer(patch("a", fragment=large))
    with pytest.raises(BadInput, match=f"at most {MOST_OFFER_BYTES} bytes"):
        await rooms.watch(WatchOffer(APP, ROOM, USER, StreamIndex.CAMERA, USER, large))
    assert asked == []


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (MessageRefused("it is too large"), BadInput),
        (ChannelBusy("the process is behind"), Overloaded),
        (ChannelClosed("it is gone"), RoomError),
    ],
)
async def test_why_a_request_was_not_answered_is_told_truly(
    rooms: RoomProcesses, monkeypatch: pytest.MonkeyPatch, failure: Exception, error: type[Exception]
) -> None:
    async def request(process: Supervised, message: Message) -> Message:
        raise failure

    monkeypatch.setattr(Supervised, "request", request)
    with pytest.raises(error):
        await rooms.patch_peer(patch("a"))


async def test_rooms_of_a_process_that_is_not_there_cannot_be_shown(rooms: RoomProcesses) -> None:
    with pytest.raises(RoomError, match="try again in a second"):
        await rooms.rooms(None, 10)
    with pytest.raises(RoomError, match="try again in a second"):
        await rooms.room(APP, ROOM, offset=0, limit=10)
    assert await rooms.viewers([(APP, ROOM, USER)]) == {}, "whoever asks has more to tell"
