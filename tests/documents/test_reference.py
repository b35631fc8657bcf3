"""The reference says what the code says: pages that come from the code are not older, and others have its
names."""

import asyncio
import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from docs.site.reference.__main__ import FOLDER, PAGES
from docs.site.reference.apis import ERRORS
from docs.site.reference.documents import bot_document, native_api, volcengine_document
from sluice.core.lifecycle import State
from sluice.core.push import PushStage
from sluice.core.rooms import RoomEventKind
from sluice.core.vitals import State as SignalState
from tests.acceptance.node import ServedNode

_API = Path(__file__).parents[2] / "src/sluice/api"


def text_of(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text()


def words_of(name: str) -> set[str]:
    """What stands there as code."""
    return set(re.findall(r"`([^`\n]+)`", text_of(name)))


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_not_older_than_the_code(name: str) -> None:
    assert text_of(name) == PAGES[name](), f"{name}.md is older than the code: scripts/docs reference"


def test_errors_of_actions_are_known_ones() -> None:
    codes = {row["code"] for row in volcengine_document()["x-errors"]}
    assert set().union(*ERRORS.values()) <= codes
    assert {f"/?Action={name}" for name in ERRORS} <= set(volcengine_document()["paths"])


def test_room_events() -> None:
    words = words_of("events")
    assert {kind.value for kind in RoomEventKind} <= words
    fields = re.findall(r'document\["(\w+)"\]|\{"(\w+)":|"(\w+)": \[', (_API / "events.py").read_text())
    assert {name for found in fields for name in found if name} <= words


def test_statuses_of_whip_and_whep() -> None:
    code = "".join((_API / name).read_text() for name in ("peer.py", "bearer.py"))
    answered = set(re.findall(r"\b[245]\d\d\b(?! Hz)", re.sub(r"RFC \d+|#.*", "", code)))
    told = set(re.findall(r"^\| ([245]\d\d) \|", text_of("whip-whep"), re.MULTILINE))
    assert told == answered


def _keys(document: dict[str, Any], before: str = "") -> Iterator[str]:
    for name, value in document.items():
        yield before + name
        if isinstance(value, dict) and name not in ("dropped", "segments", "loss_percent"):
            yield from _keys(value, f"{before}{name}.")


@pytest.mark.anyio
async def test_fields_of_a_task(node: ServedNode, example_com: str) -> None:
    relay = await node.until_state(await node.start("Fields", f"{example_com}clip.mp4"), "running")
    relay = await node.until(relay["id"], lambda task: bool(task["stats"]["last_second"]))
    await node.call(
        "StartPushSingleStreamToCDN",
        RoomId="Fields",
        TaskId="Push",
        Stream={"UserId": "nobody"},
        PushURL="rtmp://127.0.0.1:1/live/none",
        Control={},
    )
    push = await node.task(await node.run_of("Push"))
    await node.client_stop(relay["id"])
    await node.client_stop(push["id"])
    words = words_of("task-document")
    fields = {*_keys(relay), *_keys(push)}
    assert fields <= words
    assert {word for word in words if re.match(r"(stats|signal|viewers|plan|source_facts)\.", word)} <= fields
    values = {*(state.value for state in State), *(stage.code for stage in PushStage)}
    assert values | set(get_args(SignalState)) <= words


@pytest.mark.anyio
async def test_a_node_serves_the_documents_of_the_reference(node: ServedNode) -> None:
    def served(path: str) -> Any:
        with urllib.request.urlopen(f"{node.url}{path}", timeout=10) as answer:
            return json.load(answer)

    assert await asyncio.to_thread(served, "/openapi/volcengine.json") == volcengine_document()
    assert await asyncio.to_thread(served, "/openapi/heybox.json") == bot_document()
    native = await asyncio.to_thread(served, "/openapi.json")
    assert native["paths"] == native_api()["paths"]
    assert native["components"] == native_api()["components"]


@pytest.mark.anyio
async def test_every_metric_of_a_node(node: ServedNode) -> None:
    request = urllib.request.Request(
        f"{node.url}/metrics", headers={"Authorization": f"Bearer {node.credentials.admin_token}"}
    )

    def served() -> str:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.read().decode())

    names = set(re.findall(r"^# TYPE (\S+)", await asyncio.to_thread(served), re.MULTILINE))
    assert names
    words = words_of("metrics")
    assert {name for name in names if name.removesuffix("_total") not in words and name not in words} == set()
