"""What an operator sees of viewers whose network loses packets: in the room, and in the task."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiortc import RTCPeerConnection
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.node import ServedNode
from tests.acceptance.viewers import negotiate
from tests.integration.lossy import LossyRelay, lossy_relay
from tests.integration.waiting import until, until_seen

pytestmark = pytest.mark.anyio

VIEWERS, LOSING = 20, 5
ONE_OF = 20  #: packets of theirs is lost
#: Points of percent.
CLOSE = 1.0


@asynccontextmanager
async def listener(
    node: ServedNode, room: str, name: str, relay: LossyRelay | None
) -> AsyncIterator[RTCPeerConnection]:
    """Hears the source of the room, through the relay where there is one; it reports as aiortc does."""
    peer = RTCPeerConnection()
    peer.addTransceiver("audio", direction="recvonly")
    try:
        edit = relay.rewrite if relay is not None else str
        await negotiate(peer, node.whep_url(room, "source"), node.token(room, name), edit)
        yield peer
    finally:
        await peer.close()


async def shown(node: ServedNode, room: str) -> dict[str, Any]:
    path = f"/rooms/{node.credentials.app_id}/{room}"
    return await asyncio.to_thread(node.client.native, "GET", path)


def losses(room: dict[str, Any]) -> dict[str, float | None]:
    """In percent, by user."""
    return {peer["user_id"]: peer["traffic"]["loss_percent"] for peer in room["peers"]}


async def metrics(node: ServedNode) -> dict[tuple[str, str], float]:
    """What `/metrics` has of room processes, by name and the value of the label beside the process."""
    headers = {"Authorization": f"Bearer {node.credentials.admin_token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{node.url}/metrics", headers=headers) as page,
    ):
        families = list(text_string_to_metric_families(await page.text()))
    found = {}
    for sample in (sample for family in families for sample in family.samples):
        if sample.labels.get("process", "").startswith("room"):
            (*_, label) = ["", *(value for name, value in sample.labels.items() if name != "process")]
            found[sample.name, label] = sample.value
    return found


def is_counted(seen: dict[tuple[str, str], float], truth: float) -> bool:
    """Whether the viewers are in the right classes, perhaps beside those of tests before, and the worst
    loss is close to the truth."""
    by_loss = {label: count for (name, label), count in seen.items() if name == "sluice_room_viewers_by_loss"}
    lossy = by_loss["<5 %"] + by_loss["<10 %"]  # the truth lies between the two
    worst = 100 * seen.get(("sluice_room_viewer_loss_ratio", "max"), 0.0)
    return by_loss["0"] >= VIEWERS - LOSING and lossy >= LOSING and abs(worst - truth) <= CLOSE


async def test_the_loss_of_five_of_twenty_viewers_is_seen(node: ServedNode, files: str) -> None:
    room = f"room-{uuid.uuid4().hex[:8]}"
    run = await node.start(room, f"{files}/short.m4a", Loop=True)
    async with lossy_relay() as relay, AsyncExitStack() as stack:
        relay.every = ONE_OF
        names = [f"viewer-{n}" for n in range(VIEWERS)]
        for n, name in enumerate(names):
            through = relay if n < LOSING else None
            await stack.enter_async_context(listener(node, room, name, through))
        await until(lambda: len(relay.rtp) == LOSING and min(relay.rtp.values()) >= 8 * ONE_OF)
        truth = 100 * relay.lost / sum(relay.rtp.values())
        assert truth == pytest.approx(100 / ONE_OF, abs=0.5)
        at = time.monotonic()

        def is_true(seen: dict[str, Any]) -> bool:
            expected = {name: truth if n < LOSING else 0.0 for n, name in enumerate(names)}
            found = losses(seen)
            return set(found) == set(names) and all(
                (loss := found[name]) is not None and abs(loss - expected[name]) <= CLOSE for name in names
            )

        seen = await until_seen(lambda: shown(node, room), is_true)
        print(f"the room shows {truth:.2f} % after {time.monotonic() - at:.1f} s")
        traffic = {peer["user_id"]: peer["traffic"] for peer in seen["peers"]}
        assert all(one["round_trip_ms"] is not None for one in traffic.values())
        assert all(one["bitrate_kbps"] > 10 for one in traffic.values())
        await until_seen(lambda: metrics(node), lambda seen: is_counted(seen, truth))
        print(f"/metrics shows it after {time.monotonic() - at:.1f} s")
        viewers = (await node.task(run))["viewers"]
        print(f"the task shows {viewers}")
        assert (viewers["count"], viewers["reporting"]) == (VIEWERS, VIEWERS)
        assert viewers["loss_percent"]["worst"] == pytest.approx(truth, abs=CLOSE)
        assert viewers["loss_percent"]["mean"] == pytest.approx(truth * LOSING / VIEWERS, abs=CLOSE)
    await node.client_stop(run)
