"""Cases that are played on one node, many at once, and recorded; then each test judges its own recording."""

import asyncio
import uuid
from collections.abc import Callable, Sequence

import pytest

from tests.acceptance.reports.case import Case, Stage, delays, faults
from tests.acceptance.reports.reading import Reading
from tests.acceptance.reports.recorder import Desk

#: At once: what two cores play in copy mode without being late.
_AT_ONCE = 24
#: One hold-up of the machine makes late what plays just then, so as many are played again, few at once.
_MOST_AGAIN, _AGAIN_AT_ONCE = _AT_ONCE, 4

#: What a case showed, and what of it is wrong.
Judge = Callable[[Case], tuple[Reading, list[str]]]


def asked_for(request: pytest.FixtureRequest, module: str) -> list[Case]:
    """The cases of a module that this run has chosen."""
    of_module = [item for item in request.session.items if item.path.stem == module]
    called = [getattr(item, "callspec", None) for item in of_module]
    return [call.params["case"] for call in called if call is not None]


async def play_all(stage: Stage, desk: Desk, cases: Sequence[Case], at_once: int = _AT_ONCE) -> Judge:
    """Inputs are made before anything is played: the encoders would make the node late. What was late all the
    same is played again, with few beside it."""
    urls = {case.name: await asyncio.to_thread(case.make, stage) for case in cases}
    readings: dict[str, Reading] = {}

    async def play(case: Case, url: str, places: asyncio.Semaphore) -> None:
        async with places:
            asked = len(stage.site.asked)
            room = f"{case.name[:40]}-{uuid.uuid4().hex[:6]}"
            recording = await desk.record(room, url, case.seconds, **case.start)
            recording.asked = stage.site.asked_of(case.name, asked)
            readings[case.name] = Reading(recording)

    async def play_some(some: Sequence[Case], at_once: int) -> None:
        places = asyncio.Semaphore(at_once)
        async with asyncio.TaskGroup() as group:
            for case in some:
                group.create_task(play(case, urls[case.name], places))

    await play_some(cases, at_once)
    late = [case for case in cases if await asyncio.to_thread(delays, case, readings[case.name])]
    late = late[:_MOST_AGAIN]
    urls |= {case.name: await asyncio.to_thread(case.make, stage) for case in late}
    await play_some(late, min(at_once, _AGAIN_AT_ONCE))

    def judge(case: Case) -> tuple[Reading, list[str]]:
        reading = readings[case.name]
        return reading, [*faults(case, reading), *delays(case, reading)]

    return judge


def row(case: Case, reading: Reading, found: list[str]) -> str:
    """A line of the table of measured values."""
    offset = reading.worst_offset_s(live=case.live, seams=case.seams)
    pace, first = reading.pace, reading.first_s
    last = reading.recording.document
    return " | ".join(
        (
            case.name,
            f"{len(reading.numbers)} pictures"
            + (f", {len(reading.repeated)} again" if reading.repeated else ""),
            f"{sum(reading.seconds_heard().values()):.1f} s sound",
            f"gap {reading.picture_gap_s:.2f}/{reading.sound_gap_s:.2f} s",
            "offset -" if offset is None else f"offset {offset * 1000:.0f} ms",
            "first -" if first is None else f"first {first:.1f} s",
            "pace -" if pace is None else f"pace {pace.rate:.3f}",
            f"late {reading.recording.late_s:.2f} s",
            f"{last.get('state')}: {last.get('reason_text', '')[:100]}",
            "right" if not found else "WRONG: " + "; ".join(found),
        )
    )
