"""`/healthz` and `/readyz`: what is not well is named, and nothing that hangs is waited for."""

import asyncio

import pytest
from fastapi import FastAPI

from sluice.api import health as module
from sluice.api.health import Check, Health, routes
from sluice.core.node_figures import PART_OK
from tests.unit.asgi import Answer, call

WELL = Check("room-0", lambda: None)
DEAD = Check("media-0", lambda: "it has died, and is started again")


def ask(path: str, live: list[Check], welcome: list[Check], method: str = "GET") -> Answer:
    app = FastAPI()
    app.include_router(routes(Health(live, welcome)))
    return call(app, method, path)


async def never() -> str | None:
    await asyncio.Event().wait()
    return None


async def full() -> str | None:
    return "the disk is full"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_well(path: str) -> None:
    answer = ask(path, [WELL], [WELL])
    assert (answer.status, answer.json()) == (200, {"status": "ok", "failing": []})
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_balancers_may_ask_with_head(path: str) -> None:
    assert ask(path, [WELL], [WELL], "HEAD").status == 200
    assert ask(path, [DEAD], [WELL], "HEAD").status == 503


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_process_that_is_gone_fails_both(path: str) -> None:
    answer = ask(path, [WELL, DEAD], [])
    assert answer.status == 503
    failing = [{"part": "media-0", "why": "it has died, and is started again"}]
    assert answer.json() == {"status": "failing", "failing": failing}


def test_what_keeps_new_work_away_is_no_illness() -> None:
    welcome = [Check("store", full), Check("draining", lambda: "the node is ending")]
    assert ask("/healthz", [WELL], welcome).status == 200
    answer = ask("/readyz", [WELL, DEAD], welcome)
    assert answer.status == 503
    assert [part["part"] for part in answer.json()["failing"]] == ["media-0", "store", "draining"]


def test_a_look_that_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.01)
    answer = ask("/readyz", [], [WELL, Check("store", never)])
    assert answer.status == 503
    assert answer.json()["failing"] == [{"part": "store", "why": "it has not answered for 0.01 s"}]


def test_each_part_is_a_figure() -> None:
    figures = asyncio.run(Health([WELL, DEAD], [Check("store", full)]).figures())
    live = {("room-0", "healthz"): 1.0, ("media-0", "healthz"): 0.0}
    assert figures == {PART_OK: {**live, ("store", "readyz"): 0.0}}
