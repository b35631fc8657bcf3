"""The page /docs in Chromium: both APIs can be read, and calls are signed in the browser."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page, expect

from tests.acceptance.node import ServedNode

pytestmark = [pytest.mark.anyio, pytest.mark.light]


@pytest.fixture
async def page(browser: Browser, node: ServedNode) -> AsyncIterator[Page]:
    context = await browser.new_context()
    page = await context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("requestfailed", lambda request: failures.append(request.url))
    page.on(
        "request",
        lambda request: failures.append(request.url) if not request.url.startswith(node.url) else None,
    )
    await page.goto(f"{node.url}/docs")
    yield page
    await context.close()
    assert failures == [], "nothing is loaded from elsewhere"


async def fill_keys(page: Page, node: ServedNode) -> None:
    await page.fill("#access", node.credentials.access_key)
    await page.fill("#secret", node.credentials.secret_key)
    await page.fill("#admin", node.credentials.admin_token)


async def open_operation(page: Page, name: str) -> None:
    await page.get_by_role("link", name=name, exact=True).click()
    await expect(page.locator("main h2")).to_contain_text(name)


async def test_every_operation_can_be_read(page: Page) -> None:
    await expect(page.locator("nav a").first).to_be_visible()
    names = await page.locator("nav a").all_text_contents()
    assert {
        "StartRelayStream",
        "BanRoomUser",
        "GetCallback",
        "GET /api/v1/tasks",
        "POST /api/v1/apps",
    } <= set(names)
    for name in names:
        await open_operation(page, name)
    await open_operation(page, "StartRelayStream")
    row = page.locator("main table tr", has_text="Control.FrameRate")
    await expect(row).to_contain_text("integer, 1 to 30, default 15")
    await expect(row).to_contain_text("Frames per second")
    await page.fill("#find", "push")
    await expect(page.locator("nav a")).to_have_count(3)


async def test_a_call_is_signed_in_the_browser(page: Page, node: ServedNode) -> None:
    await fill_keys(page, node)
    await open_operation(page, "ListRelayStream")
    await page.fill("[data-name=AppId]", node.credentials.app_id)
    await page.fill("[data-name=RoomId]", "docs.room@1")
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator("#result")).to_contain_text("Status 200")
    await expect(page.locator("#result")).to_contain_text('"Task": []')

    await open_operation(page, "StopRelayStream")
    body = f'{{"AppId": "{node.credentials.app_id}", "RoomId": "ü", "TaskId": "T"}}'
    await page.fill("[data-name=body]", body)
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator("#result")).to_contain_text("InvalidParameter.IllegalRoomID")
    assert node.credentials.secret_key not in await page.locator("#result").inner_text()


async def test_wrong_and_missing_keys_are_told(page: Page, node: ServedNode) -> None:
    await open_operation(page, "ListRelayStream")
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator("#result")).to_contain_text("Type an access key and its secret key")
    await fill_keys(page, node)
    await page.fill("#secret", "wrong")
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator("#result")).to_contain_text("SignatureDoesNotMatch")


async def test_the_native_api_takes_the_admin_token(page: Page, node: ServedNode) -> None:
    await fill_keys(page, node)
    await open_operation(page, "GET /api/v1/apps")
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator("#result")).to_contain_text(node.credentials.app_id)
    assert node.credentials.admin_token not in await page.locator("#result").inner_text()
    kept = "JSON.stringify([localStorage, sessionStorage, document.cookie])"
    assert await page.evaluate(kept) == '[{},{},""]'
