"""Threads for calls that block: as many as are needed, no more than allowed, and gone when all is done."""

import asyncio
import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest

from sluice.core.errors import SourceError, interrupted
from sluice.media import worker
from sluice.media.threads import Threads


def test_calls_that_block_do_not_hold_up_others() -> None:
    threads, go_on = Threads(300, "test"), threading.Event()
    blocked = [threads.submit(go_on.wait, 10) for _ in range(280)]
    assert threads.submit(lambda: "done").result(2) == "done"
    go_on.set()
    assert all(call.result(5) for call in blocked)


def test_threads_are_bounded_and_calls_wait_in_order() -> None:
    threads, go_on, order = Threads(2, "test"), threading.Event(), list[int]()
    calls: list[Future[Any]] = [threads.submit(go_on.wait, 10) for _ in range(2)]
    calls += [threads.submit(order.append, n) for n in range(20)]
    assert threads.count == 2
    go_on.set()
    for call in calls:
        call.result(5)
    assert sorted(order) == list(range(20))
    assert threads.count <= 2


def test_a_thread_that_is_free_is_used_again() -> None:
    threads = Threads(5, "test")
    names = {threads.submit(threading.get_ident).result(2) for _ in range(20)}
    assert len(names) <= 2  # one may not be free yet when the next call comes


def test_threads_end_when_nothing_comes() -> None:
    threads, go_on = Threads(50, "ends", idle_s=0.02), threading.Event()
    calls = [threads.submit(go_on.wait, 10) for _ in range(50)]
    running = [thread for thread in threading.enumerate() if thread.name == "ends"]
    assert len(running) == 50
    go_on.set()
    for thread in running:
        thread.join(5)
    assert threads.count == 0
    assert all(call.result(0) for call in calls)
    assert threads.submit(lambda: 1).result(2) == 1


def test_threads_of_a_peak_end_while_a_few_calls_go_on() -> None:
    threads, go_on = Threads(50, "peak", idle_s=0.2), threading.Event()
    calls = [threads.submit(go_on.wait, 10) for _ in range(50)]
    go_on.set()
    assert all(call.result(5) for call in calls)
    deadline = time.monotonic() + 20
    while threads.count > 5:
        assert time.monotonic() < deadline, threads.count
        threads.submit(int).result(5)  # each comes long before a thread's time is up


def test_calls_and_ends_of_threads_that_meet_lose_no_call() -> None:
    threads = Threads(4, "meets", idle_s=0.0005)
    for _ in range(1000):
        assert threads.submit(lambda: 1).result(5) == 1
        time.sleep(0.0005)


def test_what_a_call_raises_is_given_to_who_waits() -> None:
    def fail() -> None:
        raise interrupted("it broke")

    call = Threads(1, "test").submit(fail)
    error = call.exception(2)
    assert str(error) == "it broke"
    assert isinstance(error, SourceError)
    assert error.__traceback__ is None, "frames would keep all that was read"


def test_a_source_that_drips_is_not_opened_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "LONGEST_OPENING_S", 0.05)
    with pytest.raises(SourceError, match=r"did not begin within 0.05 s") as caught:
        asyncio.run(worker.in_time(asyncio.Event().wait()))
    assert caught.value.transient
