"""Inputs made after public bug reports, and others of the same kinds: each is played whole, in time and in
sync, or ends with a text that is true."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.reports import (
    cases_clocks,
    cases_formats,
    cases_http,
    cases_media,
    cases_odd,
    cases_served,
    cases_splices,
    cases_tracks,
)
from tests.acceptance.reports.case import Case, Stage
from tests.acceptance.reports.group import Judge, asked_for, play_all, row
from tests.acceptance.reports.recorder import Desk

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

CASES: list[Case] = [
    *cases_tracks.READING,
    *cases_tracks.TRACKS,
    *cases_splices.SPLICES,
    *cases_splices.PROGRESS,
    *cases_splices.RESOURCES,
    *cases_clocks.CLOCKS,
    *cases_http.PLAYLISTS,
    *cases_http.ADDRESSES,
    *cases_http.VERDICTS,
    *cases_media.UNKNOWN,
    *cases_media.WAVS,
    *cases_media.HIDDEN,
    *cases_media.HELD,
]
#: What a run without the slow tests leaves out.
FURTHER: list[Case] = [*cases_odd.ODD, *cases_served.SERVED, *cases_formats.FORMATS]


@pytest.fixture(scope="module")
async def judge(request: pytest.FixtureRequest, stage: Stage, desk: Desk) -> Judge:
    return await play_all(stage, desk, asked_for(request, "test_cases"))


@pytest.fixture(scope="module")
async def table() -> AsyncIterator[list[str]]:
    lines: list[str] = []
    yield lines
    print("", *lines, sep="\n")


@pytest.mark.parametrize(
    "case",
    [
        *(pytest.param(case, id=case.name) for case in CASES),
        *(pytest.param(case, id=case.name, marks=pytest.mark.slow) for case in FURTHER),
    ],
)
async def test_is_played_as_it_is(case: Case, judge: Judge, table: list[str]) -> None:
    reading, found = judge(case)
    table.append(row(case, reading, found))
    assert not found


def test_the_log_has_no_stack_trace(judge: Judge, node_log: Path) -> None:
    assert "Traceback" not in node_log.read_text()
