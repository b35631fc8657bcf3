"""The bot API over fakes, with two bots of one app: what its tests share."""

import asyncio
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

from sluice.api.heybox.channels import ChannelHandlers
from sluice.api.heybox.gateway import BotGateway, route_table
from sluice.api.heybox.streams import StreamHandlers
from sluice.core.addresses import AddressPolicy
from sluice.core.apps import App, Apps
from sluice.core.bots import Bot, Line, StreamLimits
from sluice.core.ids import AppId, BotId, BotRoomId
from sluice.core.tasks import RelaySpec, Task
from sluice.store.apps import insert_app
from sluice.store.bots import BotRegistry
from sluice.store.thread import Store
from tests.testing import FakeTasks, MemoryStore
from tests.unit.asgi import Answer, call

NOW = 1_800_000_000.0
APP = App(AppId("661e0000000000000000543c"), "app-key")
PUSH, STOP, CREATE = "channel/stream/push", "channel/stream/stop", "channel/create"
#: What every client sends (docs/contract/heybox.md 1).
QUERY = (
    "client_type=heybox_chat&x_client_type=web&os_type=web&x_os_type=bot&x_app=heybox_chat&chat_os_type=bot"
)
PUSHED: dict[str, Any] = {
    "room_id": "3886418517665415168",
    "channel_id": "3886418645352636424",
    "stream_url": "https://example.com/audio.mp3",
    "operator": 8829829,
}


@dataclass
class Api:
    """`bot` may enter every room, `guest` is on line 2 and may enter one."""

    registered_only: bool = False
    limits: StreamLimits = field(default_factory=StreamLimits)
    now: float = NOW

    def __post_init__(self) -> None:
        self.store = MemoryStore()
        self.tasks = FakeTasks(lambda: self.now)
        self.bots = BotRegistry(cast(Store, self.store), lambda: self.now)
        self.apps = Apps([APP])
        asyncio.run(self.store.run(lambda conn: insert_app(conn, APP, NOW)))
        self.bot, self.token = self.make_bot("bot")
        room = BotRoomId(PUSHED["room_id"])
        self.guest, self.guest_token = self.make_bot("guest", line=Line.VOLC, rooms=frozenset({room}))
        streams = StreamHandlers(
            self.tasks,
            self.bots,
            self.apps,
            AddressPolicy(["127.0.0.0/8"]),
            self.limits,
            registered_only=self.registered_only,
        )
        routes = route_table(streams, ChannelHandlers(self.bots))
        self.app = BotGateway(routes, self.bots, lambda: self.now)

    def make_bot(self, name: str, **changes: Any) -> tuple[Bot, str]:
        bot = replace(Bot(BotId(0), name, APP.app_id), **changes)
        record, token = asyncio.run(self.bots.create_bot(bot))
        return record.bot, token

    def send(
        self,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        method: str = "POST",
        query: str = QUERY,
        chunks: Iterable[bytes] | None = None,
    ) -> Answer:
        """`body` is JSON where it is no bytes."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        shown = self.token if token is None else token
        headers = [("Content-Type", "application/json")] + ([("token", shown)] if shown else [])
        pieces = [data] if chunks is None else chunks
        return call(self.app, method, f"/chatroom/v3/{path}?{query}", headers, pieces)

    def push(self, token: str | None = None, **fields: Any) -> Answer:
        return self.send(PUSH, PUSHED | fields, token=token)

    def pushed(self, token: str | None = None, **fields: Any) -> Task[RelaySpec]:
        """The stream that a push began."""
        answer = self.push(token, **fields)
        task = self.tasks.runs[-1]
        assert ok(answer) == {"task_id": task.task_id}
        return task


def making(**options: Any) -> Iterator[Api]:
    """For fixtures."""
    api = Api(**options)
    yield api
    api.store.close()


def ok(answer: Answer) -> dict[str, Any]:
    """The result of a call that succeeded, with the whole envelope as it must be."""
    document = answer.json()
    assert answer.status == 200, document
    assert answer.headers["content-type"] == "application/json"
    result: dict[str, Any] = document.pop("result")
    assert document == {"msg": "", "status": "ok"}
    return result


def failed(answer: Answer, status: int = 200) -> tuple[int, str]:
    """err_code and msg of a call that failed, without the rule that an invalid parameter breaks, with the
    whole envelope as it must be."""
    document = answer.json()
    assert answer.status == status, document
    assert answer.headers["content-type"] == "application/json"
    assert set(document) == {"msg", "result", "status", "err_code"}
    assert (document["status"], document["result"]) == ("failed", {})
    message, has_rule, rule = document["msg"].partition(" (")
    assert message.startswith("invalid parameter: ") == bool(has_rule), document
    assert not has_rule or rule.endswith(")"), document
    return document["err_code"], message
