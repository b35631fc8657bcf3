"""The command line beside one node that serves https at a port of its own choice: the data folder alone leads
there. Commands are called in this process, as `sluice` calls them; only the node is another one."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner

from sluice import cli
from sluice.core.apps import App
from sluice.core.errors import SluiceError
from sluice.core.ids import AppId, RoomId, UserId
from sluice.demo import make_clip_in, serve_file
from sluice.exits import exit_of
from sluice.wire.token import verify
from tests.acceptance.node import serve_node
from tests.integration.certificates import write_certificate

pytestmark = [pytest.mark.anyio, pytest.mark.light]

_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class Shell:
    data: Path

    async def run(self, *words: str) -> tuple[int, str]:
        """The exit status, and what was printed or what is wrong."""
        ended = await asyncio.to_thread(
            CliRunner().invoke, cli.cli, [*words, "--data", str(self.data)], env={"COLUMNS": "80"}
        )
        if isinstance(ended.exception, SluiceError):
            return exit_of(ended.exception), str(ended.exception)
        return ended.exit_code, ended.stdout

    async def text(self, *words: str) -> str:
        status, output = await self.run(*words)
        assert status == 0, output
        return output

    async def document(self, *words: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(await self.text(*words, "--json"))
        return document

    async def start(self, app: str, room: str, task: str, url: str) -> str:
        """The id of a relay that was started for an app."""
        token = (await self.text("token", "--room", room, "--user", "relay", "--app", app)).strip()
        params = [f"RoomId={room}", f"TaskId={task}", "UserId=relay", f"Token={token}", "MaxIdleTime=60"]
        await self.text(
            *("call", "StartRelayStream", *params, f"Control.StreamUrl={url}", "Control.StreamMode=1"),
            *("Control.Loop=true", "--app", app),
        )
        tasks = (await self.document("task", "list", "--app", app))["tasks"]
        return next(str(found["id"]) for found in tasks if found["task_id"] == task)


@pytest.fixture(scope="module")
async def shell(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shell]:
    folder = tmp_path_factory.mktemp("command-line")
    write_certificate(folder)
    tls = ("--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem"))
    async with serve_node(folder / "data", *tls, "--media-processes", "1"):
        yield Shell(folder / "data")


@pytest.fixture(scope="module")
async def clip_url(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    clip = await asyncio.to_thread(make_clip_in, tmp_path_factory.mktemp("clip"))
    async with serve_file(clip) as url:
        yield url


async def test_an_app_of_its_own(shell: Shell, clip_url: str) -> None:
    """Everything with the beginning of its id, up to its end."""
    made = await shell.document("app", "create")
    whole, app = made["app_id"], made["app_id"][:10]
    run = await shell.start(app, "Room1", "Task1", clip_url)
    other = await shell.start(app, "Room1", "Task2", "http://127.0.0.1:9/clip.mp4")

    listed = await shell.text("task", "list", "--app", app)
    assert {run, other} <= set(listed.split()), "ids are whole at any width"
    status, why = await shell.run("task", "show", "run_")
    assert (status, "fits several" in why, run in why, other in why) == (4, True, True, True)
    assert (await shell.document("task", "show", run[4:14]))["id"] == run
    assert (await shell.document("task", "stop", other[:14]))["id"] == other
    assert (await shell.run("task", "stop", "run_zz"))[0] == 4

    await _until_there(shell, app, "Room1")
    shown = await shell.text("room", "show", "Room1", "--app", app)
    assert "relay" in shown
    assert "h264" in shown
    assert (await shell.document("room", "show", "Room1", "--app", app))["counts"]["streams"] == 1
    assert (await shell.run("room", "show", "Room1"))[0] == 4, "that is another app's"

    link = urlsplit((await shell.text("link", "--room", "a@b", "--user", "anna", "--app", app)).strip())
    said = {name: values[0] for name, values in parse_qs(link.fragment).items()}
    assert (link.scheme, link.path, said["app"], said["room"]) == ("https", "/room", whole, "a@b")
    claims = verify(
        said["token"], App(AppId(whole), made["app_key"]), RoomId("a@b"), UserId("anna"), 1_700_000_000
    )
    assert 0 not in claims.privileges, "who has the link only watches"

    status, why = await shell.run("app", "delete", app)
    assert (status, f"are live: 1 ({run})" in why) == (1, True)
    removed = await shell.document("app", "delete", app, "--stop")
    assert removed == {"app_id": whole, "tasks": 1, "keys": [made["access_key"]]}
    assert (await shell.document("task", "show", run))["state"] in ("stopping", "ended")
    assert (await shell.document("room", "list", "--app", whole))["rooms"] == []
    for words in (("token", "--room", "r", "--user", "u"), ("link", "--room", "r"), ("call", "GetCallback")):
        status, why = await shell.run(*words, "--app", whole)
        assert (status, why) == (4, f"there is no app {whole}")
    assert (await shell.run("app", "delete", whole))[0] == 4


async def _until_there(shell: Shell, app: str, room: str) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        while True:
            rooms = (await shell.document("room", "list", "--app", app))["rooms"]
            if [found["room_id"] for found in rooms if found["counts"]["streams"]] == [room]:
                return
            await asyncio.sleep(0.1)


async def test_the_app_of_the_credentials_stays(shell: Shell) -> None:
    own = (await shell.document("app", "list"))["apps"][0]["app_id"]
    status, why = await shell.run("app", "delete", own)
    assert (status, "credentials.json" in why) == (1, True)


async def test_callbacks(shell: Shell) -> None:
    app = (await shell.document("app", "create"))["app_id"]
    of_app = ("--app", app[:8])
    registered = await shell.document(
        *("callback", "create", "http://127.0.0.1:9/cb?token=abc", "--event", "RelayStreamStateChanged"),
        *of_app,
    )
    assert len(registered["secret"]) == 64
    receivers = await shell.text("callback", "receivers", *of_app)
    assert registered["secret"] not in receivers
    assert "abc" not in receivers
    assert (await shell.run("callback", "create", "http://127.0.0.1:9/", *of_app))[0] == 1

    run = await shell.start(app, "Room2", "Task1", "http://127.0.0.1:9/clip.mp4")
    await shell.text("task", "stop", run)
    events = (await shell.document("callback", "list", *of_app))["callbacks"]
    assert {event["app_id"] for event in events} == {app}
    event = events[0]["event_id"]
    assert (await shell.document("callback", "show", event[:18]))["event_id"] == event
    assert (await shell.document("callback", "replay", event[:18]))["order"] == f"replay/{event}"
    assert (await shell.run("callback", "show", "0000"))[0] == 4
    assert (await shell.run("callback", "list", "--state", "lost"))[0] == 2

    assert (await shell.document("callback", "delete", *of_app))["deleted"] is True
    assert (await shell.run("callback", "delete", *of_app))[0] == 4


async def test_keys_bots_and_channels(shell: Shell, tmp_path: Path) -> None:
    app = (await shell.document("app", "create"))["app_id"]
    secret = tmp_path / "secret"
    secret.write_text("c2VjcmV0\n")
    key = ("--access-key", "AKLTours", "--secret-key-file", str(secret), "--app", app[:9])
    assert (await shell.document("key", "create", *key))["app_ids"] == [app]
    assert (await shell.document("key", "disable", "AKLTou"))["enabled"] is False
    assert (await shell.document("key", "enable", "AKLTou"))["enabled"] is True
    assert len((await shell.document("key", "list", "--app", app[:9]))["keys"]) == 2
    assert (await shell.run("key", "revoke", "AKLT"))[0] == 4, "several begin so"
    assert await shell.document("key", "revoke", "AKLTou") == {"access_key": "AKLTours", "revoked": True}
    status, why = await shell.run("key", "create", "--secret-key-file", str(tmp_path / "none"))
    assert (status, str(tmp_path / "none") in why) == (2, True)

    bot = await shell.document("bot", "create", "--name", "dj", "--app", app[:9])
    assert (await shell.document("bot", "disable", "d"))["enabled"] is False
    assert (await shell.document("bot", "list", "--app", app))["bots"][0]["bot_id"] == bot["bot_id"]
    await shell.text("channel", "set", "42", "--line", "volc", "--app", app[:9])
    assert (await shell.document("channel", "list", "--app", app[:9]))["channels"][0]["app_id"] == app
    assert (await shell.document("channel", "delete", "42", "--app", app[:9]))["deleted"] is True
    assert (await shell.document("bot", "delete", "dj"))["deleted"] is True
    assert (await shell.run("bot", "delete", str(bot["bot_id"])))[0] == 4


@pytest.mark.parametrize(
    "words",
    [
        ("node", "show"),
        ("process", "list"),
        ("task", "list"),
        ("room", "list"),
        ("app", "list"),
        ("key", "list"),
        ("bot", "list"),
        ("channel", "list"),
        ("callback", "list"),
        ("callback", "receivers"),
        ("token", "--room", "r", "--user", "u"),
        ("link", "--room", "r"),
        ("call", "GetRoomOnlineUsers", "RoomId=r"),
        ("app", "set", "--relay", "on"),
    ],
)
async def test_each_says_one_document(shell: Shell, words: tuple[str, ...]) -> None:
    assert isinstance(await shell.document(*words), dict)


async def test_a_backup_of_a_node_that_runs(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    assert (await shell.document("backup", str(file)))["file"] == str(file)
    restored = Shell(tmp_path / "restored")
    assert (await restored.document("restore", str(file)))["data"] == str(restored.data)
    status, why = await restored.run("task", "list")
    assert (status, "no node is running on the data folder" in why) == (3, True)
    for words in (
        ("restore", str(tmp_path / "none"), "--force"),
        ("backup", str(tmp_path / "none" / "file")),
    ):
        status, why = await restored.run(*words)
        assert (status, why.startswith(f"{tmp_path / 'none'}: there is no such")) == (2, True)
