"""`/metrics`: every figure of the tables is shown, in Prometheus's own text, for the operator alone."""

import asyncio
from collections.abc import Mapping

import pytest
from fastapi import FastAPI
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sluice.api.metrics import PREFIX, Metrics, routes
from sluice.api.operator import Operator
from sluice.api.requests import Answers
from sluice.core import figures as tables
from sluice.core.figures import CPU_SECONDS, DEATHS, LOOP_LAG, MEMORY, Figure, Ledger, Values
from sluice.core.node_figures import (
    CALLBACKS,
    COMMIT,
    ENDED,
    FAMILIES,
    PART_OK,
    STARTED,
    TASKS,
    Counts,
    Readings,
)
from tests.unit.asgi import Answer, call

TOTALS: Values = {CPU_SECONDS.name: {"loop": 2.5, "others": 0.5}}
GAUGES: Values = {MEMORY.name: {"": 1000.0}, LOOP_LAG.name: {"p50": 0.1, "p99": 0.2, "max": 0.3}}


class Scraped:
    def __init__(self) -> None:
        self.ledger, self.counts = Ledger(), Counts()
        self.readings: Readings = {}
        self.metrics = Metrics(self.ledger, self.counts, [dict, self.read], version="1.2.3", began_at=1000.0)

    async def read(self) -> Readings:
        return self.readings

    def page(self) -> str:
        return asyncio.run(self.metrics.page())[0].decode()

    def families(self) -> Mapping[str, Metric]:
        return {metric.name: metric for metric in parse(self.page())}

    def value(self, sample: str, **labels: str) -> float | None:
        found = [
            one.value
            for metric in self.families().values()
            for one in metric.samples
            if one.name == PREFIX + sample and one.labels == labels
        ]
        return found[0] if found else None


@pytest.fixture
def scraped() -> Scraped:
    return Scraped()


def test_every_figure_is_named_even_before_anybody_tells_it(scraped: Scraped) -> None:
    shown = scraped.families()
    named = {figure.name for table in tables.TABLES.values() for figure in table}
    named |= {family.name for family in FAMILIES}
    assert {PREFIX + name for name in named} <= set(shown)
    assert {metric.type for metric in shown.values()} == {"counter", "gauge", "histogram"}
    assert scraped.value("build_info", version="1.2.3", python=_python(scraped)) == 1
    assert scraped.value("start_time_seconds") == 1000


def _python(scraped: Scraped) -> str:
    (sample,) = scraped.families()["sluice_build_info"].samples
    return sample.labels["python"]


def test_processes(scraped: Scraped) -> None:
    scraped.ledger.tell("room-0", "room", TOTALS, GAUGES)
    for n in (1, 2):
        scraped.ledger.tell(f"media-apart-{n}", "media", TOTALS, GAUGES)
    assert scraped.value("process_cpu_seconds_total", process="room-0", thread="loop") == 2.5
    assert scraped.value("process_cpu_seconds_total", process="media-apart", thread="loop") == 5
    assert scraped.value("process_memory_bytes", process="media-apart") == 2000
    assert scraped.value("loop_lag_seconds", process="media-apart", at="p99") == 0.2
    assert scraped.value("process_deaths_total", process="room-0") == 0
    scraped.ledger.end("room-0")
    scraped.ledger.add("room-0", "room", DEATHS)
    assert scraped.value("process_cpu_seconds_total", process="room-0", thread="loop") == 2.5
    assert scraped.value("process_memory_bytes", process="room-0") is None
    assert scraped.value("process_deaths_total", process="room-0") == 1


def test_a_figure_that_is_added_to_a_table_is_shown(
    scraped: Scraped, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = Figure("drops", "Packets that were left out", total=True, label="rule")
    monkeypatch.setitem(tables.TABLES, "room", (*tables.TABLES["room"], added))
    scraped.ledger.tell("room-0", "room", {"drops": {"late": 3}}, {})
    assert scraped.value("drops_total", process="room-0", rule="late") == 3


def test_the_node_itself(scraped: Scraped) -> None:
    scraped.counts.add(STARTED, "push")
    for took_s in (0.0015, 0.0015, 20.0):
        scraped.counts.observe(COMMIT, took_s)
    scraped.readings = {TASKS: {("relay", "running", "none"): 7}, PART_OK: {("store", "readyz"): 0}}
    assert scraped.value("tasks_started_total", kind="push") == 1
    assert scraped.value("tasks_started_total", kind="relay") == 0
    assert scraped.value("tasks", kind="relay", state="running", reason="none") == 7
    assert scraped.value("tasks", kind="push", state="running", reason="none") == 0
    assert scraped.value("tasks_ended_total", kind="relay", state="failed", reason="media_crash") == 0
    assert scraped.value("part_ok", part="store", probe="readyz") == 0
    assert scraped.value("store_commit_seconds_bucket", le="0.001") == 0
    assert scraped.value("store_commit_seconds_bucket", le="0.002") == 2
    assert scraped.value("store_commit_seconds_bucket", le="+Inf") == 3
    assert scraped.value("store_commit_seconds_count") == 3


def test_what_could_not_be_asked_for_is_left_out(scraped: Scraped) -> None:
    assert scraped.families()[PREFIX + CALLBACKS.name].samples == []


def test_ends_are_seeded_as_they_come() -> None:
    """The state of an end goes with its reason."""
    states = {(state, reason) for _, state, reason in ENDED.seeds}
    assert {("ended", "stopped"), ("failed", "source_refused"), ("failed", "media_crash")} <= states
    assert len(states) == len({reason for _, reason in states})


def test_open_metrics_where_it_is_asked_for(scraped: Scraped) -> None:
    accepted = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    page, media_type = asyncio.run(scraped.metrics.page(accepted))
    assert media_type.startswith("application/openmetrics-text")
    names = {metric.name for metric in parse_open(page.decode())}  # type: ignore[no-untyped-call]
    assert names >= {"sluice_tasks_started", "sluice_tasks"}


def ask(scraped: Scraped, operator: Operator | None, token: str | None) -> Answer:
    app = FastAPI()
    app.include_router(routes(scraped.metrics, operator))
    return call(app, "GET", "/metrics", [("Authorization", f"Bearer {token}")] if token else [])


def test_the_operator_alone_sees_them(scraped: Scraped) -> None:
    operator = Operator("admin")
    assert ask(scraped, operator, None).status == 401
    assert ask(scraped, operator, "wrong").status == 401
    answer = ask(scraped, operator, "admin")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert b"sluice_build_info" in answer.body


def test_without_an_operator_everybody_does(scraped: Scraped) -> None:
    assert ask(scraped, None, None).status == 200


def test_answers_are_counted_by_api_and_class(scraped: Scraped) -> None:
    answers = Answers(scraped.counts)

    async def surface(scope: Scope, receive: Receive, send: Send) -> None:
        status = int(scope["query_string"])
        await Response(status_code=status)(scope, receive, answers.counted("heybox", send))

    for status in (200, 204, 404, 503):
        assert call(surface, "GET", f"/?{status}").status == status
    shown = {of: scraped.value("http_requests_total", api="heybox", **{"class": of}) for of in ("2xx", "4xx")}
    assert shown == {"2xx": 2, "4xx": 1}
