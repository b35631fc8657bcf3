"""Background work has an owner: its errors are logged and tell that the process is not well."""

import asyncio

import pytest
from structlog.testing import capture_logs

from sluice.process import owned

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def _break() -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize("vital", [True, False])
async def test_an_error_is_logged_and_vital_work_makes_the_process_unwell(vital: bool) -> None:
    with capture_logs() as logs:
        task = owned.own(_break(), "the sweeper", vital=vital)
        assert owned.is_owned(task)
        await asyncio.wait({task})
        await asyncio.sleep(0)
    assert [line["work"] for line in logs] == ["the sweeper"]
    assert (owned.trouble() is not None) is vital
    assert not owned.is_owned(task)


async def test_what_is_cancelled_or_done_is_no_trouble() -> None:
    cancelled, done = owned.own(asyncio.Event().wait(), "long"), owned.own(asyncio.sleep(0), "short")
    cancelled.cancel()
    await asyncio.wait({cancelled, done})
    assert owned.trouble() is None


async def test_a_timer_stands_still_when_look_after_look_finds_it_so() -> None:
    stands = True
    owned.watch("the timer", lambda: stands)
    assert [owned.trouble(), owned.trouble(), owned.trouble()] == [None, None, "the timer stands still"]
    stands = False
    assert owned.trouble() is None


async def test_errors_of_callbacks_are_logged_up_to_a_bound() -> None:
    owned.log_stray_errors()
    loop = asyncio.get_running_loop()
    with capture_logs() as logs:
        for _ in range(50):
            loop.call_soon(lambda: 1 // 0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert {line["event"] for line in logs} == {"stray error"}
    assert 20 <= len(logs) <= 40  # a minute may end meanwhile
