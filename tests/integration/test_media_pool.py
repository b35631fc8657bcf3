"""Real media processes apart from the pool: one in reserve, a bound, and an end with their last session."""

import asyncio
from collections.abc import AsyncIterator

import psutil
import pytest
import structlog

from sluice.process.supervisor import ChildSpec, Supervised
from sluice.tasks import media_pool as module
from sluice.tasks.media_pool import MediaPool
from tests.integration.children import MODULE
from tests.integration.waiting import until

pytestmark = pytest.mark.anyio

MOST_APART = 2


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def media(anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MediaPool]:
    monkeypatch.setattr(module, "_CALM_S", 0.1)
    media = MediaPool([ChildSpec("media-0", MODULE, {"log_level": "error"})], MOST_APART)
    await media.start()
    yield media
    await media.stop()


async def test_a_media_process_says_how_fast_the_machine_is() -> None:
    config = {"log_level": "error", "allow_networks": [], "nice": 1}
    media = MediaPool([ChildSpec("media-0", "sluice.media", config)], MOST_APART)
    await media.start()
    try:
        took_s = await media.speed_s()
        assert took_s is not None
        assert 0.002 < took_s < 2
        (process,) = media.processes
        assert psutil.Process(process.pid).nice() == min(19, psutil.Process().nice() + 1)
    finally:
        await media.stop()


async def test_a_child_that_does_not_know_the_question_leaves_it_open(media: MediaPool) -> None:
    assert await media.speed_s() is None


async def reserve(media: MediaPool) -> Supervised:
    await until(lambda: media.processes[-1] is not media.processes[0] and bool(media.processes[-1].ready))
    return media.processes[-1]


async def test_the_reserve_is_taken_first_and_made_anew(media: MediaPool) -> None:
    first = await reserve(media)
    assert media.room == MOST_APART
    assert media.take_apart() is first
    await until(lambda: len(media.processes) == 3 and media.processes[-1].ready is not None)
    second = media.take_apart()
    assert (second, media.room) == (media.processes[-1], 0)
    assert media.take_apart() is None, "no more than the bound"


async def test_what_strangers_may_bring_down_is_the_reserve(
    media: MediaPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = media.processes[0]
    kept = await reserve(media)
    assert media.for_strangers() is kept
    assert kept.pid is not None
    psutil.Process(kept.pid).kill()
    await until(lambda: kept.restarts == 1)
    assert media.for_strangers() is None, "the one of the pool has sessions"
    await until(lambda: media.for_strangers() is kept)
    monkeypatch.setattr(module, "_CALM_S", 60.0)
    media.take_apart()
    assert media.for_strangers() is pool


async def test_one_that_is_released_ends_and_has_no_next_life(media: MediaPool) -> None:
    taken = await reserve(media)
    assert media.take_apart() is taken
    assert taken.pid is not None
    child = psutil.Process(taken.pid)
    assert media.release(taken)
    await until(lambda: not child.is_running())
    assert taken not in media.processes
    assert not media.release(media.processes[0]), "the pool stays"
    assert media.processes[0].ready is not None


async def test_one_that_dies_and_is_released_at_its_death_is_not_started_again(media: MediaPool) -> None:
    taken = await reserve(media)
    media.take_apart()
    died = asyncio.Event()

    def on_death(process: Supervised) -> None:
        media.release(process)
        died.set()

    media.on_death = on_death
    assert taken.pid is not None
    psutil.Process(taken.pid).kill()
    await died.wait()
    await until(lambda: taken.pid is None)
    assert (taken.restarts, taken.channel) == (1, None)


async def test_one_that_does_not_start_is_told(media: MediaPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CALM_S", 60.0)
    kept = await reserve(media)
    media.take_apart()
    failed: list[Supervised] = []
    media.on_failure = failed.append
    stillborn = ChildSpec("media-0", MODULE, {"log_level": "error", "stillborn": True})
    monkeypatch.setattr(media, "_model", stillborn)
    taken = media.take_apart()
    await until(lambda: failed == [taken])
    assert media.processes[1:] == (kept,)


async def test_the_end_of_the_node_is_no_failure_of_one_that_starts(media: MediaPool) -> None:
    failed: list[Supervised] = []
    media.on_failure = failed.append
    kept = await reserve(media)
    media.take_apart()
    starting = media.take_apart()
    assert starting is not None
    with structlog.testing.capture_logs() as logs:
        await media.stop()
        await asyncio.sleep(0)
    assert ([line for line in logs if line["log_level"] == "error"], failed) == ([], [])
    assert (kept.pid, starting.pid) == (None, None)
