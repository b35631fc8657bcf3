"""The page /docs in Chromium: all APIs can be read, calls are signed in the browser, and examples work as
they stand."""

import json
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest
from playwright.async_api import Browser, Page, expect

from sluice.api.examples import APP_ID, VOLCENGINE
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
    await page.locator("nav").get_by_role("link", name=name, exact=True).click()
    await expect(page.locator("main h2")).to_contain_text(name)


async def send(page: Page) -> None:
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator("#result h3").first).to_contain_text("Status")


async def fill_app(page: Page, node: ServedNode) -> None:
    """As a reader does: keys, then the admin token, by which the page knows the app."""
    await fill_keys(page, node)
    await page.locator("#admin").press("Tab")
    await expect(page.locator("#app")).to_have_value(node.credentials.app_id)


async def test_every_operation_can_be_read(page: Page) -> None:
    await expect(page.locator("nav a").first).to_be_visible()
    names = await page.locator("nav a").all_text_contents()
    assert {
        "StartRelayStream",
        "BanRoomUser",
        "GetCallback",
        "GET /api/v1/tasks",
        "POST /api/v1/apps",
        "POST /chatroom/v3/channel/stream/push",
        "UserJoinRoom",
        "Line trtc",
        "Errors: Bots",
    } <= set(names)
    for name in names:
        await open_operation(page, name)
    await open_operation(page, "StartRelayStream")
    row = page.locator("main table tr", has_text="Control.FrameRate")
    await expect(row).to_contain_text("integer, 1 to 30, default 15")
    await expect(row).to_contain_text("Frames per second")
    await open_operation(page, "RelayStreamStateChanged")
    row = page.locator("main table tr", has_text="EventData.Reason")
    await expect(row).to_contain_text("1001: the source cannot be reached")
    await open_operation(page, "Errors: Volcengine")
    row = page.locator("main table tr", has_text="InvalidAccessKey")
    await expect(row).to_contain_text("100009401")
    await page.fill("#find", "push")
    await expect(page.locator("nav a")).to_have_count(4)


async def test_a_call_is_signed_in_the_browser(page: Page, node: ServedNode) -> None:
    await fill_app(page, node)
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


async def test_the_field_in_which_somebody_writes_is_left_alone(page: Page, node: ServedNode) -> None:
    await fill_keys(page, node)
    await open_operation(page, "ListRelayStream")
    field, app = page.locator("[data-name=AppId]"), node.credentials.app_id
    await field.fill("your-app-id")
    await page.evaluate("document.getElementById('admin').dispatchEvent(new Event('change'))")
    await expect(page.locator("#app")).to_have_value(app)
    await expect(field).to_have_value("your-app-id")
    await page.focus("[data-name=RoomId]")
    await expect(field).to_have_value(app)


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


async def test_examples_of_the_openapi_work_as_they_stand(page: Page, node: ServedNode) -> None:
    await fill_app(page, node)
    for name in VOLCENGINE:
        await open_operation(page, name)
        await send(page)
        await expect(page.locator("#result h3").first).to_have_text("Status 200")
        await expect(page.locator("#result")).not_to_contain_text('"Error"')


async def test_examples_of_the_bot_api_work_as_they_stand(page: Page, node: ServedNode) -> None:
    await fill_app(page, node)
    await open_operation(page, "POST /api/v1/bots")
    await send(page)
    bot = json.loads(await page.locator("#result pre").first.inner_text())
    assert bot["app_id"] == node.credentials.app_id
    await page.fill("#bot", bot["token"])
    for path in ("channel/create", "channel/stream/push"):
        await open_operation(page, f"POST /chatroom/v3/{path}")
        await send(page)
        await expect(page.locator("#result")).to_contain_text('"status": "ok"')
    assert bot["token"] not in await page.locator("#result").inner_text()
    answer = json.loads(await page.locator("#result pre").first.inner_text())
    await open_operation(page, "POST /chatroom/v3/channel/stream/stop")
    await page.fill("[data-name=body]", json.dumps(answer["result"]))
    await send(page)
    await expect(page.locator("#result")).to_contain_text('"status": "ok"')


async def test_examples_of_the_native_api_are_taken(node: ServedNode) -> None:
    """What they name may not be there (404, 409); a wrong body would be 400."""
    headers = {"Authorization": f"Bearer {node.credentials.admin_token}"}
    app_id = node.credentials.app_id
    async with aiohttp.ClientSession(node.url, headers=headers) as session:
        async with session.get("/openapi.json") as answer:
            document = await answer.json()
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if "requestBody" not in operation:
                    continue
                reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                given = document["components"]["schemas"][reference.rpartition("/")[2]]["example"]
                body = json.dumps(given).replace(APP_ID, app_id)
                place = re.sub(r"{\w+}", "1", path.replace("{app_id}", app_id))
                sent = {"Content-Type": "application/json"}
                async with session.request(method, place, data=body, headers=sent) as answer:
                    assert answer.status in (200, 201, 404, 409), (path, method, await answer.text())
