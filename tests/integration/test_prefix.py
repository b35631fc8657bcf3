"""WHIP behind nginx that puts a node under a path: what is named as Location can be ended there."""

from pathlib import Path

import aiohttp
import pytest
from starlette.routing import Router

from sluice.api.proxies import TrustedProxies
from sluice.api.server import listening, serving
from sluice.api.whip import routes
from sluice.core.apps import App, Apps
from sluice.core.ids import AppId
from sluice.wire.token import Grant, Privilege, make
from tests.integration.prefix import prefix_proxy
from tests.testing import FakeBans, FakeRooms

pytestmark = pytest.mark.anyio

_APP = App(AppId("a" * 24), "key")
_TOKEN = make(_APP, Grant("room", "anna", 0, 4_000_000_000, {Privilege.PUBLISH: 0}))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    ("strips", "tells", "base"),
    [(True, True, ""), (False, True, ""), (True, False, "/sluice"), (False, False, "/sluice")],
)
async def test_a_location_that_can_be_ended(tmp_path: Path, strips: bool, tells: bool, base: str) -> None:
    whip = Router(routes(FakeRooms(), Apps([_APP]), FakeBans(), lambda: 1.0))
    front = TrustedProxies(whip, ["127.0.0.0/8"], base)
    path = f"/whip/{_APP.app_id}/room"
    with listening("127.0.0.1", 0) as listener:
        async with serving(front, listener):
            with prefix_proxy(tmp_path, listener.url, strips=strips, tells=tells) as outer:
                await _offer_and_end(outer, path)


async def _offer_and_end(outer: str, path: str) -> None:
    headers = {"Authorization": f"Bearer {_TOKEN}", "Content-Type": "application/sdp"}
    async with aiohttp.ClientSession() as http:
        async with http.post(outer + path, data=b"v=0", headers=headers) as answer:
            assert answer.status == 201
            location = answer.headers["Location"]
        assert location == f"/sluice{path}/peer_1"
        async with http.delete(outer.removesuffix("/sluice") + location, headers=headers) as answer:
            assert answer.status == 200
