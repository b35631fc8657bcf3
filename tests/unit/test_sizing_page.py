"""docs/en/how-to/sizing.md says what the node itself estimates, and what it gives to tasks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.core.capacity import cores_for_tasks
from sluice.core.cost import NOTHING_KNOWN, Cost, Source, estimate
from sluice.core.plan import TrackAction
from sluice.core.tasks import MediaType, PushSpec, RelaySpec, StreamMode

_PAGE = (Path(__file__).parents[2] / "docs/en/how-to/sizing.md").read_text()
_URL = "http://example.com/a"


def _rows(table: str) -> Iterator[list[str]]:
    """Of the table behind the comment `table`, without its head."""
    lines = _PAGE.split(f"<!-- {table} -->\n")[1].split("\n\n")[0].splitlines()
    for line in lines[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def _copied(width: int, height: int, rate: float) -> Cost:
    return estimate(RelaySpec(_URL, stream_mode=StreamMode.COPY), Source(width, height, rate))


def _transcoded(source: tuple[int, int, float], size: tuple[int, int], rate: int) -> Cost:
    spec = RelaySpec(_URL, stream_mode=StreamMode.TRANSCODE, width=size[0], height=size[1], frame_rate=rate)
    return estimate(spec, Source(*source))


def _sound(source: Source) -> Cost:
    return estimate(RelaySpec(_URL, media_type=MediaType.AUDIO), source)


_COSTS = [
    _sound(NOTHING_KNOWN),
    _sound(Source(audio=TrackAction.COPY)),
    _copied(640, 360, 25),
    _copied(1280, 720, 25),
    _copied(1920, 1080, 30),
    _transcoded((1280, 720, 25), (640, 360), 15),
    _transcoded((1280, 720, 25), (1280, 720), 25),
    _transcoded((1920, 1080, 25), (1280, 720), 25),
    _transcoded((1920, 1080, 30), (1920, 1080), 30),
    estimate(PushSpec("rtmp://example.com/a/b")),
]


def test_costs_are_those_of_admission() -> None:
    rows = list(_rows("costs"))
    said = [(float(cores), int(mb), int(many)) for _, cores, mb, many in rows]
    assert said == [(round(cost.cores, 3), round(cost.mb), int(1 / cost.cores)) for cost in _COSTS]


@pytest.mark.parametrize(("cores", "tasks"), list(_rows("capacity")))
def test_cores_for_tasks(cores: str, tasks: str) -> None:
    assert cores_for_tasks(float(cores)) == pytest.approx(float(tasks))
