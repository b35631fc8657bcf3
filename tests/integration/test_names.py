"""Look-ups of names while some name servers are silent, or say very much."""

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from sluice.core.addresses import AddressPolicy
from sluice.core.errors import SourceError
from sluice.core.limits import MOST_JUDGED_ADDRESSES, MOST_LOOKUPS_OF_A_ZONE, MOST_TRIED_ADDRESSES
from sluice.net.dial import Dialer
from sluice.net.names import Names
from tests.integration.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def answering(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str], list[str]]) -> list[str]:
    """What is asked for from now on."""
    asked: list[str] = []

    def ask(host: str, *arguments: object) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 0)) for each in answer(host)]

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    return asked


@pytest.mark.parametrize(
    ("zone", "other"),
    [("silent.test", "other.test"), ("silent.com.cn", "www.other.com.cn"), ("silent.co.uk.", "other.CO.uk")],
)
async def test_a_zone_that_is_silent_takes_its_share_alone(
    monkeypatch: pytest.MonkeyPatch, zone: str, other: str
) -> None:
    released = threading.Event()

    def answer(host: str) -> list[str]:
        if host.endswith(zone):
            released.wait(20)
        return ["8.8.8.8"]

    asked = answering(monkeypatch, answer)
    names = Names()
    silent = [asyncio.create_task(names.addresses(f"h{n}.{zone}")) for n in range(100)]
    await until(lambda: len(asked) == MOST_LOOKUPS_OF_A_ZONE)
    assert await names.addresses(other) == ["8.8.8.8"]
    assert len(asked) == MOST_LOOKUPS_OF_A_ZONE + 1
    released.set()
    assert await asyncio.gather(*silent) == [["8.8.8.8"]] * 100


async def test_one_name_is_asked_for_once_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def answer(host: str) -> list[str]:
        released.wait(20)
        return ["8.8.8.8"]

    asked = answering(monkeypatch, answer)
    names = Names()
    asking = [asyncio.create_task(names.addresses("h.test")) for _ in range(100)]
    await until(lambda: bool(asked))
    asking[0].cancel()  # the others still get it
    released.set()
    await asyncio.wait(asking)
    assert asked == ["h.test"]
    assert [task.result() for task in asking[1:]] == [["8.8.8.8"]] * 99


async def test_names_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def answer(host: str) -> list[str]:
        released.wait(20)
        return ["8.8.8.8"]

    answering(monkeypatch, answer)
    dialer = Dialer(AddressPolicy())
    asking = [asyncio.create_task(dialer.resolve(f"h{n}.silent.test")) for n in range(600)]
    done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    assert "too many names wait" in str(done.pop().exception())
    released.set()
    await asyncio.wait(asking)
    assert all(task.exception() is None or isinstance(task.exception(), SourceError) for task in asking)


async def test_a_machine_that_allows_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(SourceError, match="allows no more threads") as caught:
        await Dialer(AddressPolicy()).resolve("h.test")
    assert caught.value.transient


async def test_a_name_with_very_many_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, lambda host: [f"10.0.{n // 256}.{n % 256}" for n in range(5000)])
    assert len(await Names().addresses("many.test")) == MOST_JUDGED_ADDRESSES
    assert len(await Dialer(AddressPolicy(["10.0.0.0/8"])).resolve("many.test")) == MOST_TRIED_ADDRESSES
    with pytest.raises(SourceError, match="has no public address"):
        await Dialer(AddressPolicy()).resolve("many.test")
