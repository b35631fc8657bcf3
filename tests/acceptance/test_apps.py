"""Apps and access keys from the command line, against a running node and over its restart."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sluice.client import CallFailed, Client
from sluice.core.apps import AccessKey
from tests.acceptance.node import ServedNode, serve_node

pytestmark = [pytest.mark.anyio, pytest.mark.light]


async def sluice(node: ServedNode, data: Path, *words: str) -> str:
    """What the command prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sluice", *words, "--url", node.url, "--data", str(data)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def call(node: ServedNode, access_key: str, secret_key: str, app_id: str) -> str:
    """The code of the answer to a call signed with this key for this app."""
    client = Client(node.url, AccessKey(access_key, secret_key, frozenset()), "")
    params = {"AppId": app_id, "RoomId": "room", "TaskId": "task"}
    try:
        await asyncio.to_thread(client.call, "StopRelayStream", "2023-11-01", params, time.time())
    except CallFailed as error:
        return str((error.document or {})["ResponseMetadata"]["Error"]["Code"])
    return "ok"


async def test_a_life_of_apps_and_keys(tmp_path: Path) -> None:
    data, own_key = tmp_path / "data", tmp_path / "secret"
    own_key.write_text("c2VjcmV0LW9mLW91cnM9\n")
    no_task, app_id = "InvalidParameter.ErrorActiveTaskNotFound", "661e0000000000000000543c"
    async with serve_node(data) as node:
        # From elsewhere, with the ids and keys that programs have already.
        options = ("--app-id", app_id, "--access-key", "AKLTours", "--secret-key-file", str(own_key))
        made = json.loads(await sluice(node, data, "app", "create", *options, "--json"))
        ours = ("AKLTours", "c2VjcmV0LW9mLW91cnM9")
        assert await call(node, *ours, app_id) == no_task
        assert await call(node, *ours, node.credentials.app_id) == "AccessDenied.NoPermissionForApp"

        await sluice(node, data, "app", "set", app_id, "--relay", "off")
        assert await call(node, *ours, app_id) == "AccessDenied.ServiceNotEnabled"

        key = json.loads(await sluice(node, data, "key", "create", "--app", app_id, "--json"))
        second = (key["access_key"], key["secret_key"])
        await sluice(node, data, "key", "disable", "AKLTours")
        assert await call(node, *ours, app_id) == "InvalidAccessKey"
        shown = await sluice(node, data, "key", "list", "--json") + await sluice(node, data, "app", "list")
        assert app_id in shown
        assert not any(secret in shown for secret in (made["app_key"], ours[1], second[1]))
    async with serve_node(data) as node:
        assert await call(node, *ours, app_id) == "InvalidAccessKey"
        assert await call(node, *second, app_id) == "AccessDenied.ServiceNotEnabled"
        await sluice(node, data, "app", "set", app_id, "--relay", "on")
        await sluice(node, data, "key", "enable", "AKLTours")
        await sluice(node, data, "key", "revoke", second[0])
        assert await call(node, *ours, app_id) == no_task
        assert await call(node, *second, app_id) == "InvalidAccessKey"
        printed = await sluice(node, data, "key", "create")
        assert await call(node, *_pair(printed), node.credentials.app_id) == no_task


def _pair(printed: str) -> tuple[str, str]:
    """Key and secret as they are printed for people, whole whatever the terminal's width."""
    words: dict[str, Any] = dict(line.split(maxsplit=1) for line in printed.splitlines())
    return words["access_key"], words["secret_key"]
