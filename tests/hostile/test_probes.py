"""Probes of what nobody can play, as many at once as there may be, beside an innocent viewer."""

import asyncio
import contextlib
from typing import Any

import pytest

from sluice.client import CallFailed
from sluice.core.limits import MOST_PROBES
from tests.acceptance.node import ServedNode
from tests.hostile.beside import Beside
from tests.hostile.sources import drip_body, endless_boxes
from tests.hostile.strangers import stranger
from tests.hostile.test_servers import is_idle, serving
from tests.hostile.test_sources import MANIFESTS, PLAYLISTS, playlist
from tests.integration.nginx import Nginx

pytestmark = pytest.mark.anyio


async def probe(node: ServedNode, url: str) -> dict[str, Any]:
    return await asyncio.to_thread(node.client.native, "POST", "/probe", {"url": url})


async def test_probes_of_strangers(node: ServedNode, beside: Beside, origin: Nginx) -> None:
    await probe(node, origin.http("second.mpd"))  # the process in reserve has loaded what it needs
    media = node.children("sluice.media")
    scripts = [
        playlist(PLAYLISTS["variables"].encode(), "application/vnd.apple.mpegurl"),
        serving(MANIFESTS["periods"].encode(), "application/dash+xml"),
        drip_body,
        endless_boxes,
    ]
    assert len(scripts) == MOST_PROBES
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(stranger(script)) for script in scripts]
        async with beside.innocent() as seen:
            for document in await asyncio.gather(*(probe(node, server.url("/a.mpd")) for server in servers)):
                assert document["failure"]["culprit"] == "source", document
                assert document["seconds"] < 5
    assert set(media) <= set(node.children("sluice.media"))
    seen.check(most_mb=200)
    assert await is_idle(media)


@pytest.mark.slow
async def test_more_probes_than_there_may_be(node: ServedNode, beside: Beside) -> None:
    async with stranger(drip_body) as server, beside.innocent() as seen:
        answers = await asyncio.gather(
            *(probe(node, server.url(f"/{n}")) for n in range(5 * MOST_PROBES)), return_exceptions=True
        )
        refused = [answer for answer in answers if isinstance(answer, CallFailed)]
        assert len(answers) - len(refused) >= MOST_PROBES
        assert all("sources are being looked at; try again in" in str(answer) for answer in refused)
        assert len(server.asked) == len(answers) - len(refused)
    seen.check()
