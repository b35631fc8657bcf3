"""What is counted of tasks: each start, loss, return and end once, whatever else happens to them."""

from dataclasses import replace

import pytest

from sluice.core.lifecycle import Reason
from sluice.core.node_figures import (
    ENDED,
    FIRST_PACKET,
    INTERRUPTED,
    RECOVERED,
    RESTARTED,
    STARTED,
    TASKS,
    Family,
)
from sluice.core.tasks import PlaybackChange
from sluice.process.control import Accepted, Finished, Flowing, Lost
from tests.unit.test_tasks_service import SPEC, Node, settle

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def node() -> Node:
    return Node()


def counted(node: Node, family: Family) -> dict[tuple[str, ...], float]:
    return {labels: count for labels, count in node.counts.totals(family).items() if count}


async def test_a_life(node: Node) -> None:
    task = await node.start()
    assert node.tasks.figures() == {TASKS: {("relay", "starting", "none"): 1}}
    process = node.place(task.id)
    process.report(Accepted(run_id=task.id))
    node.now += 0.7
    process.report(Flowing(run_id=task.id))
    await settle()
    assert node.tasks.figures() == {TASKS: {("relay", "running", "none"): 1}}
    first = node.counts.histograms(FIRST_PACKET)["relay",]
    assert sum(first.counts) == 1
    assert first.sum == pytest.approx(0.7)
    node.now += 5
    process.report(Lost(run_id=task.id, reason=Reason.SOURCE_INTERRUPTED.code, text="gone"))
    await settle()
    assert node.tasks.figures() == {TASKS: {("relay", "recovering", "source_interrupted"): 1}}
    process.report(Flowing(run_id=task.id))
    await settle()
    process.report(Finished(run_id=task.id, reason=Reason.END_OF_STREAM.code, text="end"))
    await settle()
    assert node.tasks.figures() == {TASKS: {}}
    assert counted(node, STARTED) == {("relay",): 1}
    assert counted(node, INTERRUPTED) == {("relay", "source_interrupted"): 1}
    assert counted(node, RECOVERED) == {("relay", "source_interrupted"): 1}
    assert counted(node, ENDED) == {("relay", "ended", "end_of_stream"): 1}
    assert sum(first.counts) == 1


async def test_a_pause_is_no_interruption(node: Node) -> None:
    task, process = await node.running()
    for paused in (True, False):
        await node.tasks.control(task.id, PlaybackChange(paused=paused))
    process.report(Flowing(run_id=task.id))
    await settle()
    assert node.tasks.figures() == {TASKS: {("relay", "running", "none"): 1}}
    assert counted(node, INTERRUPTED) == counted(node, RECOVERED) == {}


async def test_a_start_that_is_there_already_is_no_other(node: Node) -> None:
    await node.start()
    await node.start()
    assert counted(node, STARTED) == {("relay",): 1}


async def test_a_failure(node: Node) -> None:
    task = await node.start()
    node.place(task.id).report(Finished(run_id=task.id, reason=Reason.SOURCE_REFUSED.code, text="403"))
    await settle()
    assert counted(node, ENDED) == {("relay", "failed", "source_refused"): 1}
    assert not sum(node.counts.histograms(FIRST_PACKET)["relay",].counts)


async def test_a_scheduled_start_counts_from_its_time(node: Node) -> None:
    task = await node.start(spec=replace(SPEC, start_at=int(node.now) + 3))
    process = node.place(task.id)
    process.report(Accepted(run_id=task.id))
    node.now += 3.5
    process.report(Flowing(run_id=task.id))
    await settle()
    assert node.counts.histograms(FIRST_PACKET)["relay",].sum < 1


async def test_a_death_of_a_process_restarts_those_who_had_begun_there(node: Node) -> None:
    _, process = await node.running("first")
    await node.start("second")
    other = await node.start("third")
    assert node.place(other.id) is process
    process.die()
    await settle()
    assert counted(node, RESTARTED) == {("relay",): 1}
    assert counted(node, INTERRUPTED) == {("relay", "media_crash"): 1}
