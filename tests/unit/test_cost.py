"""Estimates: what is assumed of a source that nobody knows, and what a plan and a size change."""

from dataclasses import replace

import pytest

from sluice.core.cost import Source, estimate
from sluice.core.cost_table import CostTable
from sluice.core.plan import TrackAction
from sluice.core.tasks import MediaType, PushSpec, RelaySpec, StreamMode

#: Powers of ten, so that each part can be told in a sum.
TABLE = CostTable(
    speed_s=1.0,
    session=1e-1,
    sound_converted=2e-2,
    sound_copied=1e-2,
    picture_copied=1e-4,
    pixel_copied=1e-10,
    pixel_decoded=1e-9,
    picture_encoded=1e-5,
    pixel_encoded=2e-9,
    shared_session=1e-1,
    shared_sound=1e-2,
    shared_picture=1e-4,
    shared_pixel=1e-10,
    push=0.11,
    push_picture=1e-4,
    shared_push=1e-1,
    session_mb=1,
    copied_mb=10,
    transcoded_mb=100,
    pixel_mb=1e-6,
    push_mb=5,
)
COPY = RelaySpec("http://h/a", stream_mode=StreamMode.COPY)
TRANSCODE = RelaySpec("http://h/a", width=640, height=360, frame_rate=15)
HD, FULL_HD = 1280 * 720, 1920 * 1080


def media(spec: RelaySpec | PushSpec, source: Source | None = None) -> float:
    return estimate(spec, source or Source(), table=TABLE).media


def test_sound_costs_no_pictures() -> None:
    channel = replace(COPY, media_type=MediaType.AUDIO)
    cost = estimate(channel, table=TABLE)
    assert (cost.media, cost.shared, cost.mb) == pytest.approx((0.12, 0.11, 1))
    assert cost.cores == pytest.approx(0.23)
    assert media(channel, Source(audio=TrackAction.COPY)) == pytest.approx(0.11)


def test_a_source_that_nobody_knows_has_the_usual_pictures() -> None:
    assert media(COPY) == pytest.approx(0.12 + 25 * (1e-4 + HD * 1e-10))
    encoded = 15 * (1e-5 + 640 * 360 * 2e-9)
    assert media(TRANSCODE) == pytest.approx(0.12 + HD * 25 * 1e-9 + encoded)
    large = replace(TRANSCODE, width=1920, height=1080, frame_rate=30)
    assert media(large) == pytest.approx(0.12 + 25 * (FULL_HD * 1e-9 + 1e-5 + FULL_HD * 2e-9))


def test_what_is_known_counts() -> None:
    source = Source(1920, 1080, 10)
    encoded = 10 * (1e-5 + 640 * 360 * 2e-9)  # no picture is shown twice
    assert media(TRANSCODE, source) == pytest.approx(0.12 + FULL_HD * 10 * 1e-9 + encoded)
    assert media(COPY, source) == pytest.approx(0.12 + 10 * (1e-4 + FULL_HD * 1e-10))
    silent = replace(source, audio=TrackAction.NONE)
    assert media(COPY, silent) == pytest.approx(0.1 + 10 * (1e-4 + FULL_HD * 1e-10))
    assert estimate(COPY, silent, table=TABLE).shared == media(COPY, silent)
    assert media(COPY, Source(video=TrackAction.NONE)) == pytest.approx(0.12)


def test_a_copy_that_is_none_is_as_large_as_its_source() -> None:
    """B-frames: the contract's size and rate do not apply."""
    spec = replace(COPY, width=320, height=180)
    cost = estimate(spec, Source(1920, 1080, 25, TrackAction.TRANSCODE), table=TABLE)
    assert cost.media == pytest.approx(0.12 + 25 * (FULL_HD * 1e-9 + 1e-5 + FULL_HD * 2e-9))
    assert cost.mb == pytest.approx(101 + 2 * FULL_HD * 1e-6)


def test_a_push_converts_sound() -> None:
    push = PushSpec("rtmp://h/a/b")
    assert media(push) == pytest.approx(0.11 + 25 * 1e-4)
    assert media(replace(push, media_type=MediaType.AUDIO)) == pytest.approx(0.11)


def test_a_faster_machine_needs_less_time_and_as_much_memory() -> None:
    slow, fast = (estimate(TRANSCODE, speed=speed) for speed in (1.0, 2.0))
    assert (slow.cores, slow.mb) == pytest.approx((fast.cores * 2, fast.mb))


def test_the_measured_table_orders_tasks_as_anybody_would() -> None:
    large = replace(TRANSCODE, width=1920, height=1080, frame_rate=30)
    specs = [replace(COPY, media_type=MediaType.AUDIO), COPY, TRANSCODE, large]
    costs = [estimate(spec) for spec in specs]
    assert costs == sorted(costs, key=lambda cost: cost.cores)
    assert 0.001 < costs[0].cores < 0.02 < 0.3 < 10 * costs[3].cores < 20
