"""Callers who take more than their share, or come by a name of their own, beside an innocent viewer."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import aiohttp
import pytest

from sluice.core.limits import MOST_ADMIN_TRIES, MOST_TOKEN_PEERS, MOST_TOKEN_STREAMS
from tests.acceptance.node import ServedNode
from tests.hostile.beside import Beside

pytestmark = pytest.mark.anyio

_AT_ONCE = 20


def session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_one_token_takes_no_seats_of_others(node: ServedNode, beside: Beside) -> None:
    offer, url = beside.witnesses.offers[0], node.whep_url(beside.room, "source")
    places: list[str] = []

    async def join(http: aiohttp.ClientSession, user: str) -> tuple[int, str]:
        headers = bearer(node.token(beside.room, user)) | {"Content-Type": "application/sdp"}
        async with http.post(url, data=offer, headers=headers) as answer:
            places.extend([answer.headers["Location"]] if answer.status == 201 else [])
            return answer.status, await answer.text()

    async with beside.innocent() as seen, session() as http:
        joined: Counter[tuple[int, str]] = Counter()
        for _ in range((MOST_TOKEN_PEERS + 40) // _AT_ONCE):
            said = await asyncio.gather(*(join(http, "greedy") for _ in range(_AT_ONCE)))
            joined.update((status, "" if status == 201 else text) for status, text in said)
        assert joined.pop((201, "")) == MOST_TOKEN_PEERS
        ((status, text),) = joined
        assert (status, str(MOST_TOKEN_PEERS) in text) == (503, True)
        assert (await join(http, "modest"))[0] == 201, "the others have their seats"
        for user, place in zip(["greedy"] * MOST_TOKEN_PEERS + ["modest"], places, strict=True):
            headers = bearer(node.token(beside.room, user))
            async with http.delete(node.url + place, headers=headers) as answer:
                assert answer.status == 200
    seen.check()


async def test_one_token_takes_no_event_streams_of_others(node: ServedNode, beside: Beside) -> None:
    url = f"{node.url}/rooms/{node.credentials.app_id}/{beside.room}/events"
    async with beside.innocent() as seen:
        async with session() as http, AsyncExitStack() as streams:
            headers = bearer(node.token(beside.room, "greedy"))
            answers = [
                await streams.enter_async_context(http.get(url, headers=headers))
                for _ in range(MOST_TOKEN_STREAMS + 20)
            ]
            for answer in answers[:MOST_TOKEN_STREAMS]:
                await answer.content.readline()
            statuses = Counter(answer.status for answer in answers)
            assert statuses == {200: MOST_TOKEN_STREAMS, 503: 20}
            async with http.get(url, headers=bearer(node.token(beside.room, "modest"))) as answer:
                assert answer.status == 200
                await answer.content.readline()
        # What is let go may be taken again.
        async with session() as http, asyncio.timeout(20):
            status = 0
            while status != 200:
                async with http.get(url, headers=headers) as answer:
                    status = answer.status
    seen.check()


async def test_who_guesses_the_admin_token_is_shut_out_and_nobody_else(
    node: ServedNode, beside: Beside
) -> None:
    """From an address that has not shown it: 127.0.0.2 is another one."""
    url = f"{node.url}/api/v1/tasks"
    stranger = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with beside.innocent() as seen, aiohttp.ClientSession(connector=stranger) as http:
        statuses: Counter[int] = Counter()
        for n in range(300):
            async with http.get(url, headers=bearer(f"guess{n}")) as answer:
                statuses[answer.status] += 1
        assert statuses[401] <= MOST_ADMIN_TRIES + 3
        assert statuses[401] + statuses[429] == 300
        async with http.get(url, headers=bearer(node.credentials.admin_token)) as answer:
            assert answer.status == 429, "it would be a guess too"
        async with session() as ours:
            headers = bearer(node.credentials.admin_token)
            async with ours.get(url, headers=headers) as answer:
                assert answer.status == 200
    seen.check()


async def test_names_and_origins_of_strangers(node: ServedNode) -> None:
    evil = {"Host": "evil.example", "Origin": "http://evil.example"}
    preflight = {"Access-Control-Request-Method": "POST", "Origin": "http://other.example"}
    room = f"{node.credentials.app_id}/room"
    async with session() as http:
        for path, status in (
            ("/room", 421),
            ("/api/v1/tasks", 421),
            (f"/whip/{room}", 421),
            ("/healthz", 200),
        ):
            async with http.get(node.url + path, headers=evil) as answer:
                assert answer.status == status, path
        async with http.post(f"{node.url}/?Action=ListRelayStream", headers=evil) as answer:
            assert answer.status in (400, 401), "the dialect is signed"
        for path, allowed in (
            (f"/whip/{room}", "*"),
            (f"/whep/{room}/user", "*"),
            (f"/rooms/{room}/events", "*"),
            ("/api/v1/tasks", None),
            ("/", None),
            ("/nothing", None),
            ("/chatroom/v3/channel/create", None),
        ):
            async with http.options(node.url + path, headers=preflight) as answer:
                assert answer.headers.get("Access-Control-Allow-Origin") == allowed, path
        for path in ("/room", "/docs"):
            async with http.get(node.url + path) as answer:
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
