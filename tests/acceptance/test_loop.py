"""A clip of four seconds, ten times on end: nothing between the passes, nothing that adds up over them."""

import statistics
from contextlib import AsyncExitStack
from itertools import pairwise

import pytest

from tests.acceptance.clips import FLASHES_S, FRAME_RATE, PERIOD_S, Clips
from tests.acceptance.node import ServedNode
from tests.acceptance.player import RATES, Player, playing
from tests.acceptance.test_relay import new_room

pytestmark = pytest.mark.anyio

PASSES = 5
LENGTH = PERIOD_S * FRAME_RATE  #: pictures of a pass
FRAME_S = 1 / FRAME_RATE
SIZE = {"VideoWidth": 320, "VideoHeight": 180, "FrameRate": FRAME_RATE}
#: These tell neither the length of the picture nor what of the sound is padding: a pass is as long as its
#: sound, whose last packet ends up to 23 ms behind the picture, and there is silence around the seam.
LOOSE = ("loop.ts", "loop.flv", "loop.m3u8")
LOOSE_S = 1024 / 44_100


async def test_five_passes_are_one_stream(node: ServedNode, files: str, clips: Clips) -> None:
    """All kinds at once: it takes the time of the clips."""
    kinds = [("loop.mp4", 0), ("loop.mp4", 1), *((name, 1) for name in LOOSE)]
    players: dict[tuple[str, int], Player] = {}
    async with AsyncExitStack() as stack:
        for name, mode in kinds:
            room = new_room()
            token = node.token(room, "guest")
            player = await stack.enter_async_context(playing(node.whep_url(room, "source"), token))
            run = await node.start(room, f"{files}/{name}", StreamMode=mode, Loop=True, **SIZE)
            stack.push_async_callback(node.client_stop, run)
            players[name, mode] = player
        for player in players.values():
            # A second more, since the sound is decoded a little later than the picture.
            await player.until_pictures(PASSES * LENGTH + FRAME_RATE, deadline_s=100)
    for (name, mode), player in players.items():
        what = f"{name}, mode {mode}"
        check_pictures(what, player, loose_s=LOOSE_S if name in LOOSE else 0)
        check_sound(what, player, loose=name in LOOSE)


def check_pictures(what: str, player: Player, loose_s: float) -> None:
    """All pictures in order at even distances, which `loose_s` may be added to where a pass ends."""
    pictures = player.pictures[: PASSES * LENGTH + 1]
    assert [picture.number for picture in pictures] == [n % LENGTH for n in range(len(pictures))], what
    times = [picture.timestamp / RATES["video"] for picture in pictures]
    for n, (a, b) in enumerate(pairwise(times), 1):
        more_s = loose_s if n % LENGTH == 0 else 0
        assert FRAME_S - 0.002 <= b - a <= FRAME_S + more_s + 0.002, f"{what}: picture {n}"
    length_s = times[-1] - times[0]
    assert abs(length_s - PASSES * PERIOD_S) <= FRAME_S + PASSES * loose_s, what
    check_arrival(what, player, times)
    print(f"{what}: {PASSES} passes in {length_s:.3f} s of the RTP clock")


def check_arrival(what: str, player: Player, times: list[float]) -> None:
    """Pictures that begin a pass come as punctually as others, the last pass as punctually as the first."""
    arrived: dict[int, float] = {}
    for packet in player.packets["video"]:
        arrived.setdefault(packet.timestamp, packet.at)
    late = [arrived[picture.timestamp] - at for picture, at in zip(player.pictures, times, strict=False)]
    usual = statistics.median(late)
    assert statistics.median(late[LENGTH::LENGTH]) - usual <= FRAME_S, what
    assert abs(statistics.median(late[-LENGTH:]) - statistics.median(late[:LENGTH])) <= FRAME_S, what


def check_sound(what: str, player: Player, *, loose: bool) -> None:
    """One run of packets without a hole in the tone, in the end as near the picture as in the beginning."""
    packets = player.packets["audio"]
    assert {b.sequence - a.sequence for a, b in pairwise(packets)} == {1}, what
    assert {b.timestamp - a.timestamp for a, b in pairwise(packets)} == {RATES["audio"] // 50}, what
    silence_s = player.longest_silence_s(after_s=1)
    offsets = player.offsets()
    first, last = offsets[: len(FLASHES_S)], offsets[(PASSES - 1) * len(FLASHES_S) :]
    drift_s = statistics.median(last) - statistics.median(first)
    print(f"{what}: longest silence {silence_s * 1000:.0f} ms, drift {drift_s * 1000:+.1f} ms")
    assert len(offsets) >= PASSES * len(FLASHES_S) - 1, what
    assert max(map(abs, offsets)) <= 0.045, what
    assert abs(drift_s) <= 0.015, what
    assert silence_s <= (0.02 + LOOSE_S if loose else 0.02), what
