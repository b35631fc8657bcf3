"""What an operator sees of a running node: figures, health, processes, and a dashboard that names them."""

import asyncio
import json
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from sluice.api.metrics import PREFIX
from sluice.core.figures import TABLES
from sluice.core.node_figures import FAMILIES
from tests.acceptance.node import ServedNode, serve_node
from tests.acceptance.player import playing
from tests.acceptance.test_relay import new_room
from tests.integration.waiting import until_seen
from tests.promql import missing

pytestmark = [pytest.mark.anyio, pytest.mark.light]

DEPLOY = Path(__file__).parents[2] / "deploy"
_LABEL = re.compile(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}")
Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedNode]:
    flags = ("--metrics-listen", "127.0.0.1:0", "--room-processes", "1", "--media-processes", "1")
    async with serve_node(tmp_path_factory.mktemp("metrics") / "data", *flags) as served:
        yield served


async def get(url: str, token: str | None = None) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, await answer.text()


async def scrape(node: ServedNode) -> str:
    assert node.metrics_url is not None
    status, page = await get(node.metrics_url)
    assert status == 200
    return page


def families(page: str) -> list[Metric]:
    return list(text_string_to_metric_families(page))


def samples(page: str) -> Samples:
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for metric in families(page)
        for one in metric.samples
    }


def value(page: str, name: str, **labels: str) -> float:
    return samples(page)[PREFIX + name, tuple(sorted(labels.items()))]


def total(page: str, name: str) -> float:
    """The sum over all labels."""
    return sum(count for (sample, _), count in samples(page).items() if sample == PREFIX + name)


async def failing(node: ServedNode, path: str) -> tuple[int, list[str]]:
    """The status, and the parts that are not well."""
    status, body = await get(f"{node.url}{path}")
    return status, [part["part"] for part in json.loads(body)["failing"]]


async def until_status(node: ServedNode, path: str, wanted: tuple[int, list[str]]) -> None:
    await until_seen(lambda: failing(node, path), lambda found: found == wanted)


async def test_whoever_has_the_token_sees_metrics_and_a_listener_of_its_own_needs_none(
    node: ServedNode,
) -> None:
    assert (await get(f"{node.url}/metrics"))[0] == 401
    assert (await get(f"{node.url}/metrics", "wrong"))[0] == 401
    status, page = await get(f"{node.url}/metrics", node.credentials.admin_token)
    assert status == 200
    assert "sluice_build_info" in page
    assert node.metrics_url is not None
    aside = node.metrics_url.removesuffix("/metrics")
    assert (await get(f"{aside}/metrics"))[0] == 200
    for path in ("/healthz", "/readyz"):
        assert await get(f"{aside}{path}") == (200, '{"status":"ok","failing":[]}')
    for path in ("/", "/api/v1/tasks", "/room", "/docs", "/openapi.json"):
        assert (await get(f"{aside}{path}", node.credentials.admin_token))[0] == 404


async def test_what_is_played_and_watched_is_seen(node: ServedNode, files: str) -> None:
    room = new_room()
    async with playing(node.whep_url(room, "source"), node.token(room, "guest")) as player:
        run = await node.start(room, f"{files}/long.mp4", Loop=True)
        await player.until_pictures(10)

        def seen(page: str) -> bool:
            people = value(page, "users", process="node", who="people")
            return (total(page, "peers"), people) == (1, 1)

        page = await until_seen(lambda: scrape(node), seen)
        assert value(page, "tasks", kind="relay", state="running", reason="none") == 1
        assert value(page, "users", process="node", who="virtual") == 1
        assert value(page, "first_packet_seconds_count", kind="relay") >= 1
        assert value(page, "store_commit_seconds_count") >= 2
        assert value(page, "process_cpu_seconds_total", process="media-0", thread="others") > 0
        assert value(page, "data_disk_free_bytes", process="node") > 0
        for name in ("node", "room-0", "media-0"):
            assert value(page, "process_memory_bytes", process=name) > 1 << 20
        document = await asyncio.to_thread(node.client.native, "GET", "/node")
        assert document["status"] == "ok"
        assert (document["rooms"], document["people"]) == (1, 1)
        assert document["tasks"]["relay"] == {"running": 1}
        listed = await asyncio.to_thread(node.client.native, "GET", "/processes")
        pids = {one["name"]: one["pid"] for one in listed["processes"]}
        assert pids["node"] == node.process.pid
        assert pids["room-0"] == node.children("sluice.rooms.engine")[0].pid
        await node.client_stop(run)
    ended = {"kind": "relay", "state": "ended", "reason": "stopped"}
    await until_seen(lambda: scrape(node), lambda page: value(page, "tasks_ended_total", **ended))


async def test_more_tasks_make_no_more_series(node: ServedNode, files: str) -> None:
    async def playing_tasks(count: int) -> list[str]:
        runs = [await node.start(new_room(), f"{files}/long.mp4", Loop=True) for _ in range(count)]
        for run in runs:
            await node.until_state(run, "running")
        return runs

    def quiet(page: str) -> set[Any]:
        """Without the processes apart, one of which is begun some time after the start; without rules, which
        are not shown before they were followed: there are as many as the code has; and without what viewers
        report, which is shown while there are any."""
        return {
            key
            for key in samples(page)
            if ("process", "media-apart") not in key[1]
            and "rule" not in dict(key[1])
            and not key[0].startswith("sluice_room_viewer_")
        }

    runs = await playing_tasks(2)
    before = await scrape(node)
    runs += await playing_tasks(18)
    after = await until_seen(
        lambda: scrape(node),
        lambda page: value(page, "tasks", kind="relay", state="running", reason="none") == 20,
    )
    assert quiet(after) == quiet(before)
    for run in runs:
        document = await node.task(run)
        assert not [name for name in ("id", "room_id", "task_id") if document[name] in after]
        await node.client_stop(run)


async def test_a_room_process_that_is_killed_is_named_and_counters_do_not_go_back(
    node: ServedNode, files: str
) -> None:
    room = new_room()
    run = await node.start(room, f"{files}/long.mp4", Loop=True)
    await node.until_state(run, "running")
    before = samples(await scrape(node))
    (process,) = node.children("sluice.rooms.engine")
    seen: dict[str, set[tuple[int, tuple[str, ...]]]] = {"/healthz": set(), "/readyz": set()}

    async def look(path: str) -> None:
        while True:
            status, parts = await failing(node, path)
            seen[path].add((status, tuple(parts)))

    looking = [asyncio.ensure_future(look(path)) for path in seen]
    process.kill()
    wanted = (503, ("room-0",))
    async with asyncio.timeout(20):
        while not all(wanted in answers for answers in seen.values()):
            await asyncio.sleep(0.01)
    for task in looking:
        task.cancel()
    await asyncio.gather(*looking, return_exceptions=True)
    assert set().union(*seen.values()) <= {(200, ()), wanted}
    for path in seen:
        await until_status(node, path, (200, []))
    page = await until_seen(lambda: scrape(node), lambda page: "sluice_peers{" in page)
    after = samples(page)
    assert value(page, "process_deaths_total", process="room-0") == 1
    grow = ("_total", "_count", "_bucket", "_sum")
    back = [key for key, count in before.items() if key[0].endswith(grow) and after.get(key, -1) < count]
    assert back == []
    await node.until_state(run, "running")
    await node.client_stop(run)


async def test_a_media_process_that_hangs_is_named(node: ServedNode) -> None:
    (process,) = [
        psutil.Process(one["pid"])
        for one in (await asyncio.to_thread(node.client.native, "GET", "/processes"))["processes"]
        if one["name"] == "media-0"
    ]
    os.kill(process.pid, signal.SIGSTOP)
    try:
        for path in ("/healthz", "/readyz"):
            await until_status(node, path, (503, ["media-0"]))
    finally:
        os.kill(process.pid, signal.SIGCONT)
    await until_status(node, "/readyz", (200, []))


# --- dashboards and alerts ----------------------------------------------------------------------------------


def labels_of(page: str) -> dict[str, set[str]]:
    """The labels of each metric that the page names; from the tables where nothing was counted yet."""
    defined = {PREFIX + family.name: set(family.labels) for family in FAMILIES}
    for table in TABLES.values():
        defined |= {PREFIX + figure.name: {"process", figure.label} - {""} for figure in table}
    found: dict[str, set[str]] = {"up": set()}  # Prometheus's own
    for metric in families(page):
        names = {metric.name, *(one.name for one in metric.samples)}
        if metric.type == "counter":
            names = {f"{metric.name}_total"}
        for name in names:
            found[name] = defined.get(metric.name, set()).union(
                *(one.labels for one in metric.samples if one.name == name)
            )
    return found


def expressions_of_dashboard(path: Path) -> list[tuple[str, set[str]]]:
    dashboard = json.loads(path.read_text())
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    queries = [one["query"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    return [
        *((target["expr"], set(_LABEL.findall(target["legendFormat"]))) for target in targets),
        *((query["query"], set()) for query in queries),
    ]


def expressions_of_alerts(path: Path) -> list[tuple[str, set[str]]]:
    rules = [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
    return [
        (rule["expr"], {name for text in rule["annotations"].values() for name in _LABEL.findall(text)})
        for rule in rules
    ]


async def test_the_dashboard_and_the_alerts_name_what_a_node_tells(node: ServedNode) -> None:
    there_are = labels_of(await scrape(node))
    expressions = expressions_of_dashboard(DEPLOY / "grafana" / "sluice.json")
    expressions += expressions_of_alerts(DEPLOY / "prometheus" / "alerts.yml")
    assert len(expressions) > 40
    found = [(expr, why) for expr, shown in expressions for why in missing(expr, shown, there_are)]
    assert found == []


async def test_a_name_that_no_process_tells_is_found(node: ServedNode, tmp_path: Path) -> None:
    text = (DEPLOY / "grafana" / "sluice.json").read_text()
    broken = tmp_path / "sluice.json"
    broken.write_text(text.replace("sluice_peers{", "sluice_pears{"))
    there_are = labels_of(await scrape(node))
    found = {
        why for expr, shown in expressions_of_dashboard(broken) for why in missing(expr, shown, there_are)
    }
    assert "there is no metric sluice_pears" in found


PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
async def test_prometheus_takes_the_rules_and_the_metrics(node: ServedNode) -> None:
    async def promtool(*arguments: str, page: str = "") -> str:
        process = await asyncio.create_subprocess_exec(
            *(str(PROMTOOL), *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate(page.encode())
        assert process.returncode == 0, output.decode()
        return output.decode()

    folder = DEPLOY / "prometheus"
    await promtool("check", "rules", str(folder / "alerts.yml"))
    await promtool("check", "config", "--syntax-only", str(folder / "prometheus.yml"))
    await promtool("check", "metrics", page=await scrape(node))
