"""A node behind nginx that puts it under a path: rooms, both pages, and every address that the node names."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Browser, expect

from tests.acceptance.node import ServedNode, serve_node
from tests.acceptance.publishers import chromium_publisher
from tests.acceptance.viewers import chromium_page
from tests.integration.prefix import prefix_proxy

pytestmark = [pytest.mark.anyio, pytest.mark.light]


@pytest.fixture(scope="module")
async def inner(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedNode]:
    folder = tmp_path_factory.mktemp("prefix") / "data"
    proxies = ("--trusted-proxies", "127.0.0.0/8", "--base-url", "http://rtc.example/other/")
    async with serve_node(folder, *proxies) as node:
        yield node


async def test_people_meet_behind_it(inner: ServedNode, browser: Browser, tmp_path: Path) -> None:
    """Also where the proxy tells nothing: the page asks beside itself."""
    with prefix_proxy(tmp_path, inner.url, tells=False) as outer:
        node = replace(inner, url=outer)
        async with (
            chromium_publisher(browser, node, "prefix", "anna") as publisher,
            chromium_page(browser, node.page_url("prefix")) as viewer,
        ):
            await viewer.until_frames(10)
            ended = publisher.expect_response(lambda response: response.request.method == "DELETE")
            async with ended as response:
                await publisher.click("#stop")
            answer = await response.value
            assert answer.url.startswith(f"{outer}/whip/{node.credentials.app_id}/prefix/peer_")
            assert answer.status in (200, 404), "404: the closed connection was seen first"


async def test_calls_are_tried_behind_it(inner: ServedNode, browser: Browser, tmp_path: Path) -> None:
    with prefix_proxy(tmp_path, inner.url) as outer:
        page = await browser.new_page()
        await page.goto(f"{outer}/docs")
        await page.fill("#access", inner.credentials.access_key)
        await page.fill("#secret", inner.credentials.secret_key)
        await page.fill("#admin", inner.credentials.admin_token)
        await page.get_by_role("link", name="ListRelayStream", exact=True).click()
        await page.fill("[data-name=AppId]", inner.credentials.app_id)
        await page.fill("[data-name=RoomId]", "prefix")
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator("#result")).to_contain_text("Status 200")
        await page.get_by_role("link", name="GET /api/v1/apps", exact=True).click()
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator("#result")).to_contain_text(inner.credentials.app_id)
        await page.close()


@pytest.mark.parametrize(
    ("strips", "tells", "prefix"),
    [(True, True, "/sluice"), (False, True, "/sluice"), (True, False, "/other")],
)
async def test_documents_say_where_it_is(
    inner: ServedNode, tmp_path: Path, strips: bool, tells: bool, prefix: str
) -> None:
    with prefix_proxy(tmp_path, inner.url, strips=strips, tells=tells) as outer:
        async with aiohttp.ClientSession() as http:
            for name in ("openapi.json", "openapi/volcengine.json", "openapi/heybox.json"):
                async with http.get(f"{outer}/{name}") as answer:
                    assert (await answer.json())["servers"] == [{"url": prefix}]
