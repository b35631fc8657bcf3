"""The control channel between two ends in memory: order, deadlines, and what a broken peer does."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from sluice.core.limits import MOST_MESSAGE_BYTES, MOST_UNREAD_BYTES
from sluice.process import channel as module
from sluice.process.channel import Channel, ChannelBusy, ChannelClosed, ChannelSilent, MessageRefused
from sluice.process.control import ClosePeer, Done, Enter, Leave, Message, Refused, Roster

pytestmark = pytest.mark.anyio

ENTER = Enter(app_id="app", room_id="room", user_id="anna", presence="p")
CLOSE = ClosePeer(app_id="app", room_id="room", user_id="anna", peer_id="x")
LEAVE = Leave(app_id="app", room_id="room", presence="p")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Wire:
    """What a StreamWriter is to a channel: what is written is read by the other end, at once."""

    def __init__(self, far: asyncio.StreamReader, near: asyncio.StreamReader) -> None:
        self.transport = self
        self.unread = 0  #: bytes that the far end would not take
        self._far, self._near, self._closed = far, near, False

    def write(self, data: bytes) -> None:
        self._far.feed_data(data)

    def is_closing(self) -> bool:
        return self._closed

    def get_write_buffer_size(self) -> int:
        return self.unread

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._far.feed_eof()
            self._near.feed_eof()

    abort = close


class Pair:
    """Two channels; the far one answers, and keeps what it is told."""

    def __init__(
        self,
        answer: Callable[[Message], Awaitable[Message]],
        on_notice: Callable[[Message], None] | None = None,
        beside: tuple[type[Message], ...] = (),
    ) -> None:
        here, there = asyncio.StreamReader(), asyncio.StreamReader()
        self.wire, self.far_wire = Wire(there, here), Wire(here, there)
        self.raw = there
        self.told: list[Message] = []
        self.near = Channel(here, cast(asyncio.StreamWriter, self.wire), on_notice=self.told.append)
        self.far = Channel(
            there,
            cast(asyncio.StreamWriter, self.far_wire),
            on_notice=on_notice or self.told.append,
            on_request=answer,
            beside=beside,
        )
        self.tasks = [asyncio.create_task(end.run()) for end in (self.near, self.far)]

    async def close(self) -> None:
        self.near.close()
        async with asyncio.timeout(5):
            await asyncio.gather(*self.tasks)


async def done(message: Message) -> Message:
    return Done(found=True)


async def never(message: Message) -> Message:
    await asyncio.Event().wait()
    return Done(found=False)


async def test_requests_and_notices() -> None:
    pair = Pair(done)
    answers = await asyncio.gather(
        *(pair.near.request(ClosePeer(app_id="", room_id="", user_id="", peer_id=str(n))) for n in range(10))
    )
    assert answers == [Done(found=True)] * 10
    pair.far.notify(LEAVE)
    pair.near.notify(ENTER)
    assert await pair.near.request(ENTER) == Done(found=True)
    assert pair.told == [LEAVE, ENTER]
    await pair.close()


async def test_a_notice_never_overtakes_the_request_before_it() -> None:
    """Who enters and leaves in one breath must not stay in the room for ever."""
    order: list[str] = []

    async def enter(message: Message) -> Message:
        await asyncio.sleep(0)
        order.append(message.type)
        return Roster(number=0, users=())

    pair = Pair(enter, on_notice=lambda message: order.append(message.type))
    asking = asyncio.create_task(pair.near.request(ENTER))
    await asyncio.sleep(0)
    asking.cancel()
    pair.near.notify(LEAVE)
    assert isinstance(await pair.near.request(ENTER), Roster)
    assert order == ["enter", "leave", "enter"]
    await pair.close()


async def test_a_request_that_fails_there_fails_here_at_once_and_alone() -> None:
    async def fail_first(message: Message) -> Message:
        if message == ENTER:
            raise LookupError("a defect")
        return Done(found=True)

    pair = Pair(fail_first)
    with pytest.raises(ChannelClosed, match="failed at this request"):
        await pair.near.request(ENTER)
    assert await pair.near.request(ClosePeer(app_id="", room_id="", user_id="", peer_id="x")) == Done(
        found=True
    )
    await pair.close()


async def test_silence_ends_at_the_deadline() -> None:
    pair = Pair(never)
    with pytest.raises(ChannelClosed, match="did not answer in time"):
        await pair.near.request(ENTER, deadline_s=0)
    pair.tasks[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await pair.close()


async def test_pings_are_answered_by_the_loop_itself() -> None:
    pair = Pair(never)
    await asyncio.gather(pair.near.ping(deadline_s=5), pair.far.ping(deadline_s=5))
    asking = asyncio.create_task(pair.near.request(ENTER))
    await asyncio.sleep(0)
    with pytest.raises(ChannelSilent):  # what comes first is answered first: this peer is stuck in it
        await pair.near.ping(deadline_s=0.01)
    asking.cancel()
    pair.tasks[1].cancel()


async def test_whoever_waits_hears_that_the_peer_is_gone() -> None:
    pair = Pair(never)
    asking = asyncio.create_task(pair.near.request(ENTER))
    await asyncio.sleep(0)
    pair.far_wire.close()
    with pytest.raises(ChannelClosed, match="gone"):
        await asking
    with pytest.raises(ChannelClosed, match="gone"):
        await pair.near.request(ENTER)
    pair.near.notify(LEAVE)  # dropped, not raised
    pair.tasks[1].cancel()


@pytest.mark.parametrize("kind", range(7))
@pytest.mark.parametrize(
    "body",
    [b"{}", b"\xff\xff", b"[" * 100_000, b"[" * (MOST_MESSAGE_BYTES + 1)],
    ids=["no message", "no text", "deep", "too large"],
)
async def test_a_message_that_cannot_be_taken_ends_nothing(kind: int, body: bytes) -> None:
    pair = Pair(done)
    pair.raw.feed_data(struct.pack("!IBI", len(body), kind, 77) + body)
    assert await pair.near.request(ENTER) == Done(found=True)
    assert pair.told == []
    await pair.close()


async def test_what_is_cut_short_ends_with_its_sender() -> None:
    pair = Pair(done)
    pair.raw.feed_data(bytes.fromhex("00000009 00 00000000") + b"cut")
    await pair.close()
    assert pair.told == []
    with pytest.raises(ChannelClosed):
        await pair.far.request(ENTER)


async def test_who_asks_with_what_cannot_be_taken_hears_it_at_once() -> None:
    async def wide(message: Message) -> Message:
        return Refused(field="x", why="y" * MOST_MESSAGE_BYTES)

    pair = Pair(wide)
    with pytest.raises(MessageRefused, match=f"the limit is {MOST_MESSAGE_BYTES}"):
        await pair.near.request(CLOSE.model_copy(update={"peer_id": "x" * MOST_MESSAGE_BYTES}))
    with pytest.raises(MessageRefused, match="cannot be sent"):
        await pair.near.request(CLOSE.model_copy(update={"peer_id": "\ud800"}))
    with pytest.raises(ChannelClosed, match="failed at this request"):  # its answer is too large
        await pair.near.request(ENTER)
    pair.near.notify(LEAVE.model_copy(update={"presence": "\ud800"}))  # logged, not raised
    asking = asyncio.create_task(pair.near.request(ENTER))
    await asyncio.sleep(0)
    pair.far_wire.write(struct.pack("!IBI", 2, 2, 2) + b"{}")  # to the second that was sent
    with pytest.raises(ChannelClosed, match="cannot be read"):
        await asking
    await pair.close()


async def test_a_notice_that_the_receiver_fails_at_ends_nothing() -> None:
    def fail(message: Message) -> None:
        raise LookupError("a defect")

    pair = Pair(done, on_notice=fail)
    pair.near.notify(LEAVE)
    assert await pair.near.request(ENTER) == Done(found=True)
    await pair.close()


async def test_a_process_that_is_far_behind_is_asked_nothing_more() -> None:
    pair = Pair(done)
    pair.wire.unread = MOST_UNREAD_BYTES + 1
    with pytest.raises(ChannelBusy, match="try again"):
        await pair.near.request(ENTER)
    pair.wire.unread = 0
    assert await pair.near.request(ENTER) == Done(found=True)
    await pair.close()


async def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    pair = Pair(done)
    pair.raw.feed_data(bytes.fromhex("00000000 03 00000007"))
    assert await pair.near.request(ENTER) == Done(found=True)
    await pair.close()


async def test_a_peer_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_UNREAD_BYTES_EVER", 1000)
    pair = Pair(done)
    pair.near.notify(LEAVE)
    assert not pair.wire.is_closing()
    pair.wire.unread = 1001
    pair.near.notify(LEAVE)
    async with asyncio.timeout(5):
        await asyncio.gather(*pair.tasks)


async def test_what_takes_long_is_answered_beside_the_others() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def answer(message: Message) -> Message:
        if message == ENTER:
            asked.set()
            await go_on.wait()
        return Done(found=message == ENTER)

    pair = Pair(answer, beside=(Enter,))
    slow = asyncio.create_task(pair.near.request(ENTER))
    await asked.wait()
    assert await pair.near.request(CLOSE) == Done(found=False)
    assert await pair.near.ping(deadline_s=5) == ""
    go_on.set()
    assert await slow == Done(found=True)
    await pair.close()
