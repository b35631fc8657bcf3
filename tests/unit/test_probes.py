"""``POST /api/v1/probe``: what a media process is asked, who may ask, what is told when nobody answers."""

import json
from typing import Any, cast

import pytest
from fastapi import FastAPI

from sluice.api.native_probe import routes
from sluice.api.operator import Operator
from sluice.core.apps import App, Apps
from sluice.core.ids import AppId
from sluice.core.request_headers import RequestHeaders
from sluice.core.tasks import MediaType, StreamMode
from sluice.process.channel import ChannelClosed
from sluice.process.control import Message, Probed, ProbeJob, Refused
from sluice.tasks.capacity import NodeCapacity
from sluice.tasks.media_pool import MediaPool
from sluice.tasks.probes import SourceProbes
from tests.testing import FakeMedia
from tests.unit.asgi import Answer, call

ADMIN = "admin-token"
NOTHING: dict[str, Any] = {"plan": None, "played": None, "failure": None}
DOCUMENT: dict[str, Any] = {
    "url": "http://h/",
    "guard": {"allowed": None, "why": "no name of a server was resolved", "hosts": []},
    "reached": {"step": "nothing", "connections": 0, "url": None, "status": None, "bytes": 0},
    "source": None,
    "modes": {"copy": NOTHING, "transcode": NOTHING},
    "notes": [],
    "failure": {"culprit": "source", "reason": "source_unreachable", "message": "m", "transient": True},
    "seconds": 4.5,
}
HEADERS = RequestHeaders("Player/1", (("X-Key", "secret"),))


async def probed(message: Message) -> Message:
    return Probed(document=DOCUMENT)


class Native:
    def __init__(self) -> None:
        self.media = FakeMedia(1)
        self.process = self.media.pool[0]
        self.process.answer = probed
        apps = Apps([App(AppId("app"), "key", source_headers=HEADERS)])
        self.app = FastAPI()
        self.app.include_router(
            routes(SourceProbes(cast(MediaPool, self.media), apps, NodeCapacity()), Operator(ADMIN))
        )

    def probe(self, token: str = ADMIN, **body: Any) -> Answer:
        headers = [("Authorization", f"Bearer {token}"), ("Content-Type", "application/json")]
        return call(self.app, "POST", "/api/v1/probe", headers, [json.dumps(body).encode()])

    @property
    def job(self) -> ProbeJob:
        (job,) = self.process.asked
        assert isinstance(job, ProbeJob)
        return job


@pytest.fixture
def native() -> Native:
    return Native()


def test_the_document_is_the_media_process_s(native: Native) -> None:
    answer = native.probe(url="http://h/a.mp4")
    modes = dict.fromkeys(("copy", "transcode"), NOTHING | {"cost": None})
    assert (answer.status, answer.json()) == (200, DOCUMENT | {"modes": modes})
    assert native.job == ProbeJob(
        url="http://h/a.mp4",
        media_type=MediaType.AUDIO_VIDEO,
        stream_modes=(StreamMode.TRANSCODE, StreamMode.COPY),
    )


def test_each_mode_that_can_be_played_has_a_cost(native: Native) -> None:
    """Of the source that was found: a picture of twice the width costs more."""
    plan = {"video": {"action": "transcode", "why": ""}, "audio": {"action": "none", "why": ""}}
    costs = []
    for width in (640, 1280):
        source = {"video": {"width": width, "height": 360, "frame_rate": 25.0}}
        playable = NOTHING | {"plan": plan, "played": {}}
        found = DOCUMENT | {"source": source, "modes": {"transcode": playable, "copy": NOTHING}}

        async def seen(message: Message, found: dict[str, Any] = found) -> Message:
            return Probed(document=found)

        native.process.answer = seen
        modes = native.probe(url="http://h/a.mp4").json()["modes"]
        assert modes["copy"]["cost"] is None
        costs.append(modes["transcode"]["cost"]["cores"])
    assert 0 < costs[0] < costs[1]


def test_what_may_be_asked_for(native: Native) -> None:
    size: dict[str, Any] = {"width": 640, "height": 360, "frame_rate": 20, "bitrate_kbps": 500}
    answer = native.probe(url="rtmp://h/live/key", media_type=2, stream_mode=0, app_id="app", **size)
    assert answer.status == 200
    assert native.job == ProbeJob(
        url="rtmp://h/live/key",
        media_type=MediaType.VIDEO,
        stream_modes=(StreamMode.TRANSCODE,),
        user_agent="Player/1",
        headers={"X-Key": "secret"},
        **size,
    )
    assert "secret" not in repr(native.job)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": ""}, "url"),
        ({"url": "file:///etc/hostname"}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": "http://h/\ud800"}, "url"),
        ({"url": f"http://h/{'a' * 5000}"}, "url"),
        ({"url": 1}, "url"),
        ({"url": "http://h/", "media_type": 3}, "media_type"),
        ({"url": "http://h/", "stream_mode": "copy"}, "stream_mode"),
        ({"url": "http://h/", "width": 15}, "width"),
        ({"url": "http://h/", "height": 1921}, "height"),
        ({"url": "http://h/", "frame_rate": 31}, "frame_rate"),
        ({"url": "http://h/", "frame_rate": None}, "frame_rate"),
        ({"url": "http://h/", "bitrate_kbps": 0}, "bitrate_kbps"),
        ({"url": "http://h/", "app_id": "another"}, "app_id"),
        ({"url": "http://h/", "headers": {}}, "headers"),
    ],
)
def test_what_may_not(native: Native, body: dict[str, Any], field: str) -> None:
    answer = native.probe(**body)
    assert answer.status == 400
    error = answer.json()["error"]
    assert (error["code"], error["message"].partition(": ")[0]) == ("BadInput", field)
    assert native.process.asked == []


def test_only_the_operator_may_ask(native: Native) -> None:
    assert native.probe(token="wrong", url="http://h/").status == 401
    assert native.process.asked == []


def test_too_many_at_once(native: Native) -> None:
    async def refuse(message: Message) -> Message:
        return Refused(field="url", why="4 sources are being looked at; try again in 4.5 s", busy=True)

    native.process.answer = refuse
    answer = native.probe(url="http://h/")
    assert answer.status == 503
    assert answer.json()["error"]["message"] == "4 sources are being looked at; try again in 4.5 s"


def test_a_process_that_ends_meanwhile(native: Native) -> None:
    async def die(message: Message) -> Message:
        raise ChannelClosed("the process is gone")

    native.process.answer = die
    answer = native.probe(url="http://h/")
    assert answer.status == 503
    assert answer.json()["error"]["message"].startswith(
        "the media process did not tell of the source: the process is gone; try again"
    )


def test_no_process(native: Native) -> None:
    native.process.ready = False
    answer = native.probe(url="http://h/")
    assert (answer.status, native.process.asked) == (503, [])
    assert "no media process is ready" in answer.json()["error"]["message"]


def test_openapi(native: Native) -> None:
    document = native.app.openapi()
    operation = document["paths"]["/api/v1/probe"]["post"]
    assert "security" in operation
    assert set(operation["responses"]) == {"200", "4XX"}
    fields = document["components"]["schemas"]["ProbeBody"]["properties"]
    assert all("description" in field for field in fields.values())


def test_it_is_waited_for_as_long_as_a_probe_takes(native: Native) -> None:
    waited: list[float] = []

    async def request(message: Message, *, deadline_s: float) -> Message:
        waited.append(deadline_s)
        return await probed(message)

    native.process.request = request  # type: ignore[assignment,method-assign]
    assert native.probe(url="http://h/").status == 200
    assert waited == [7.5]
