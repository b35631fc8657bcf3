"""The gateway of the bot API: tokens, paths, bodies, rates, failures (docs/contract/heybox.md 1 and 6)."""

import asyncio
from collections.abc import Iterator

import pytest
import structlog

from sluice.api.heybox import rates
from sluice.api.heybox.gateway import BODY_LIMIT
from sluice.core.bots import hash_token
from sluice.core.errors import AccessRefused, LimitReached, Overloaded, RoomError
from sluice.store.errors import StoreTrouble
from tests.unit.asgi import Answer, call
from tests.unit.heybox import CREATE, NOW, PUSH, PUSHED, STOP, Api, failed, making, ok

INVALID_TOKEN = (401, "invalid token")


@pytest.fixture
def api() -> Iterator[Api]:
    yield from making()


def rate(answer: Answer) -> tuple[int, int, int]:
    """Remaining, reset and reset-after; the other headers are checked."""
    assert (answer.headers["x-ratelimit-limit"], answer.headers["x-ratelimit-bucket"]) == ("300", "")
    names = ("remaining", "reset", "reset-after")
    remaining, reset, after = (int(answer.headers[f"x-ratelimit-{name}"]) for name in names)
    return remaining, reset, after


@pytest.mark.parametrize("token", ["", "wrong", "x" * 513, "MTsyOzM=", "ü"])
def test_who_shows_no_token_of_a_bot(api: Api, token: str) -> None:
    answer = api.send(PUSH, PUSHED, token=token)
    assert failed(answer) == INVALID_TOKEN
    assert rate(answer) == (299, NOW + 60, 60)
    assert answer.chunks_read == 0, "his body was not read"


def test_a_token_is_kept_as_its_hash(api: Api) -> None:
    assert failed(api.send(PUSH, PUSHED, token=hash_token(api.token))) == INVALID_TOKEN
    assert failed(api.send(PUSH, PUSHED, token=api.token[:-1])) == INVALID_TOKEN
    assert api.token not in repr(asyncio.run(api.bots.list_bots()))


def test_a_bot_that_is_disabled_or_deleted(api: Api) -> None:
    asyncio.run(api.bots.enable_bot(api.bot.bot_id, False))
    assert failed(api.push()) == INVALID_TOKEN
    asyncio.run(api.bots.enable_bot(api.bot.bot_id, True))
    ok(api.push())
    asyncio.run(api.bots.delete_bot(api.bot.bot_id))
    assert failed(api.push()) == INVALID_TOKEN


@pytest.mark.parametrize("query", ["", "chat_version=999.0.0", "token=x&%FF&&=", "a=" + "x" * 100_000])
def test_the_query_is_never_a_reason(api: Api, query: str) -> None:
    ok(api.send(PUSH, PUSHED, query=query))


@pytest.mark.parametrize("path", ["", "channel", "channel/stream/push/", "channel/stream/list", "x" * 5000])
def test_paths_that_there_are_not(api: Api, path: str) -> None:
    for token in (None, "wrong"):
        answer = api.send(path, PUSHED, token=token)
        assert failed(answer, 404) == (404, "not found")
        assert rate(answer)[0] == 299


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", [PUSH, STOP, CREATE])
def test_methods_that_there_are_not(api: Api, method: str, path: str) -> None:
    answer = api.send(path, b"", method=method)
    assert failed(answer, 405) == (405, "method not allowed")
    assert answer.headers["allow"] == "POST"
    assert rate(answer)[0] == 299


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', b"null", b"1", b'{"a":NaN}', b'{"a":"\xff"}', b'{"a":"\\ud800"}', b"[" * 9999],
)
def test_bodies_that_are_no_object(api: Api, body: bytes) -> None:
    assert failed(api.send(STOP, body)) == (400, "invalid json")


def test_a_body_over_the_limit_is_refused_while_it_arrives(api: Api) -> None:
    answer = api.send(STOP, chunks=[b" " * (BODY_LIMIT // 4)] * 20)
    assert failed(answer) == (400, "request body is too large")
    assert answer.chunks_read == 5
    body = b'{"task_id":"unknown"}'
    assert failed(api.send(STOP, body + b" " * (BODY_LIMIT - len(body)))) == (404, "task not found")


def test_a_body_in_pieces(api: Api) -> None:
    body = b'{"task_id":"unknown"}'
    chunks = [body[at : at + 5] for at in range(0, len(body), 5)]
    assert failed(api.send(STOP, chunks=chunks)) == (404, "task not found")


def test_a_client_that_goes_away(api: Api) -> None:
    with pytest.raises(ValueError, match="unpack"):  # nothing was sent
        api.send(STOP, chunks=[])


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (AccessRefused("barred"), 200, (403, "permission denied")),
        (LimitReached("2 streams"), 200, (409, "too many streams")),
        (Overloaded("no core is free"), 200, (409, "no capacity")),
        (StoreTrouble("the store is locked"), 503, (503, "service unavailable: the store is locked")),
        (RoomError("a secret of ours"), 500, (500, "internal error")),
        (RuntimeError("a secret of ours"), 500, (500, "internal error")),
    ],
)
def test_failures_behind_the_gateway(
    api: Api, error: Exception, status: int, expected: tuple[int, str]
) -> None:
    api.tasks.start_error = error
    with structlog.testing.capture_logs() as logs:
        answer = api.push()
    assert failed(answer, status) == expected
    assert rate(answer)[0] == 299
    assert [entry["log_level"] for entry in logs] == ["error" if status == 500 else "info"]


def test_a_store_that_fails_is_told_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(token: str) -> None:
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(api.bots, "find_bot", fail)
    answer = api.push()
    assert failed(answer, 500) == (500, "internal error")
    assert rate(answer)[0] == 299


def test_no_log_shows_a_token_or_a_task_id(api: Api) -> None:
    with structlog.testing.capture_logs() as logs:
        task_id = ok(
            api.push(stream_url="https://u:secret@h/a?token=secret", callback_url="https://h/secret")
        )
        ok(api.send(STOP, task_id))
        api.push(token="not-a-token-of-anybody")
        api.push(volume=101)
    text = repr(logs)
    assert len(logs) == 4
    for secret in (api.token, "secret", task_id["task_id"], "not-a-token-of-anybody"):
        assert secret not in text


# --- rates --------------------------------------------------------------------------------------------------


def test_300_in_a_window_that_begins_with_the_first(api: Api) -> None:
    for n in range(300):
        api.now = NOW + n * 0.1
        answer = api.send(STOP if n % 2 else CREATE, {})
        assert answer.status == 200
        assert rate(answer)[:2] == (299 - n, NOW + 60)
    api.now = NOW + 59.5
    answer = api.push()
    assert failed(answer, 429) == (429, "too many requests")
    assert rate(answer) == (0, NOW + 60, 1)
    assert answer.headers["retry-after"] == "1"
    assert not api.tasks.runs
    ok(api.push(api.guest_token))
    api.now = NOW + 60
    answer = api.push()
    ok(answer)
    assert rate(answer) == (299, NOW + 120, 60)
    assert "retry-after" not in answer.headers


def test_reset_is_when_the_window_has_ended(api: Api) -> None:
    api.now = NOW + 0.25
    assert rate(api.push())[1:] == (NOW + 61, 60)
    api.now = NOW + 60.2
    assert rate(api.push())[1:] == (NOW + 61, 1)


def test_strangers_are_counted_apart_from_bots(api: Api) -> None:
    for _ in range(300):
        assert failed(api.push(token="wrong")) == INVALID_TOKEN
    assert failed(api.push(token="another"), 429) == (429, "too many requests")
    assert rate(api.push())[0] == 299


def test_strangers_are_counted_by_address(api: Api) -> None:
    async def from_address(address: str) -> list[int]:
        statuses = []

        async def send(message: dict[str, object]) -> None:
            statuses.append(message.get("status"))

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/chatroom/v3/",
            "query_string": b"",
            "headers": [],
        }
        await api.app(scope | {"client": (address, 1)}, None, send)  # type: ignore[arg-type]
        return [status for status in statuses if isinstance(status, int)]

    async def drive() -> None:
        for _ in range(300):
            assert await from_address("192.0.2.1") == [404]
        assert await from_address("192.0.2.1") == [429]
        assert await from_address("192.0.2.2") == [404]

    asyncio.run(drive())


def test_a_clock_that_is_set_back_makes_no_window_longer(api: Api) -> None:
    for _ in range(301):
        api.push()
    api.now = NOW - 3600
    assert rate(api.push()) == (299, NOW - 3540, 60)


def test_the_number_of_windows_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_MOST", 2)
    counted = rates.Rates()
    for caller in ("a", "b", "a", "c"):
        counted.count(caller, NOW)
    assert counted.count("b", NOW).remaining == 298, "the oldest window went"
    assert counted.count("a", NOW).remaining == 299


def test_an_answer_without_a_client_address(api: Api) -> None:
    assert failed(call(api.app, "POST", "/chatroom/v3/channel/create")) == INVALID_TOKEN
