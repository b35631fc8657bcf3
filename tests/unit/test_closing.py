"""A closing goes on to its end, however often whoever waits for it is cancelled."""

import asyncio

import pytest

from sluice.media.closing import until_closed

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Door:
    """Takes until it is let go to close."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self.go_on, self.closed = asyncio.Event(), asyncio.Event(), False
        self._error = error

    async def close(self) -> None:
        self.begun.set()
        await self.go_on.wait()
        if self._error is not None:
            raise self._error
        self.closed = True


async def test_two_cancellations_do_not_interrupt_it() -> None:
    door = Door()
    waiting = asyncio.ensure_future(until_closed(door.close(), "a door"))
    await door.begun.wait()
    for _ in range(2):
        waiting.cancel()
        await asyncio.sleep(0)
    assert not waiting.done()
    door.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert door.closed


async def test_without_a_cancellation_whoever_waits_goes_on() -> None:
    door = Door()
    door.go_on.set()
    await until_closed(door.close(), "a door")
    assert door.closed


async def test_its_error_is_raised() -> None:
    door = Door(LookupError("a defect"))
    door.go_on.set()
    with pytest.raises(LookupError, match="a defect"):
        await until_closed(door.close(), "a door")


async def test_one_that_takes_too_long_goes_on_alone() -> None:
    door = Door()
    await until_closed(door.close(), "a door", most_s=0.01)
    assert not door.closed
    (closing,) = [task for task in asyncio.all_tasks() if task.get_name() == "a door"]
    door.go_on.set()
    await closing
    assert door.closed
