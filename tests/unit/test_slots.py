"""Slots: nobody takes all of them from others."""

import asyncio
from contextlib import AsyncExitStack

from sluice.net.slots import Slots


async def _reaches(slots: Slots, shares: dict[str, int]) -> bool:
    """Whether a slot is free at once."""

    async def take() -> None:
        async with slots.take(shares):
            pass

    task = asyncio.create_task(take())
    for _ in range(10):
        await asyncio.sleep(0)
    reached = task.done()
    task.cancel()
    await asyncio.wait({task})
    return reached


def test_one_app_with_hosts_without_number_leaves_slots_to_others() -> None:
    async def run() -> None:
        slots = Slots(8)
        async with AsyncExitStack() as stack:
            for number in range(4):
                await stack.enter_async_context(slots.take({"app a": 4, f"host {number}": 2}))
            assert not await _reaches(slots, {"app a": 4, "host new": 2})
            assert await _reaches(slots, {"app b": 4, "host 0": 2})
        assert await _reaches(slots, {"app a": 4, "host 0": 2})

    asyncio.run(run())


def test_who_waits_for_a_busy_host_holds_nothing_else() -> None:
    async def run() -> None:
        slots = Slots(3)
        async with slots.take({"host x": 1}):
            waiting = [asyncio.create_task(_reaches(slots, {"host x": 1})) for _ in range(10)]
            assert await _reaches(slots, {"host y": 1})
            assert not any(await asyncio.gather(*waiting))

    asyncio.run(run())


def test_nothing_is_kept_of_who_has_gone() -> None:
    async def run() -> None:
        slots = Slots(1)
        for _ in range(3):
            async with slots.take({"a": 1, "b": 1}):
                assert not await _reaches(slots, {"a": 1})
        # A share of another size is taken as it is given now.
        async with slots.take({"a": 2}):
            pass

    asyncio.run(run())
