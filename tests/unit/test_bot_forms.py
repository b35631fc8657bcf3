"""The forms of a bot's two lines (docs/contract/callbacks.md 6 and 7), and which numbers tell what (4)."""

import json
from typing import Any

import pytest

from sluice.callbacks.forms.form import Form
from sluice.callbacks.forms.trtc import TrtcForm
from sluice.callbacks.forms.volc import VolcForm
from sluice.core.callbacks import EventKind
from sluice.core.ids import AppId
from sluice.core.tasks import Dialect
from sluice.store.outbox import OutboxEntry

#: 2021-08-17 19:22:02.9 at +08:00.
AT = 1_629_199_322.9
URL = "https://bot.example/events?token=sesame"


def entry(dialect: Dialect, **changes: Any) -> OutboxEntry:
    data = {
        "run_id": "run_1",
        "room_id": "3886418645352636424",
        "task_id": "VmKu+/Yq",
        "user_id": "bot-1",
        "business_id": "",
        "url": "https://example.com/audio.mp3",
        "start_at": 0,
        "state": "running",
        "reason": "none",
        "text": "",
        "again": False,
        "never_began": False,
        "at": AT,
        "callback_url": URL,
    }
    return OutboxEntry(
        id=1,
        event_id="9f1c2b60-0000-4000-8000-000000000001",
        app_id=AppId("app"),
        destination="url/1",
        order_key="key",
        dialect=dialect,
        kind=EventKind.RELAY_STATE,
        data=data | changes,
        created_at=AT,
        status="pending",
        attempts=0,
        first_at=None,
        next_at=AT,
        settled_at=None,
        last_error="",
        epoch=0,
    )


def trtc(**changes: Any) -> Any:
    post = TrtcForm().render(entry(Dialect.BOT_TRTC, **changes), None)
    assert (post.url, post.headers) == (URL, {"Content-Type": "application/json", "SDK-Type": "trtc"})
    return json.loads(post.body)


def volc(**changes: Any) -> Any:
    post = VolcForm().render(entry(Dialect.BOT_VOLC, **changes), None)
    assert (post.url, post.headers) == (URL, {"Content-Type": "application/json", "SDK-Type": "volc"})
    return json.loads(post.body)


def test_line_1() -> None:
    assert trtc() == {
        "EventGroupId": 7,
        "EventType": 701,
        "CallbackMsTs": 1_629_199_322_900,
        "EventInfo": {"EventMsTs": 1_629_199_322_900, "TaskId": "VmKu+/Yq", "Status": 0},
    }


@pytest.mark.parametrize(
    ("change", "kind", "status"),
    [
        ({}, 701, 0),
        ({"again": True}, 701, 2),
        ({"state": "failed", "reason": "source_refused", "never_began": True}, 701, 1),
        ({"state": "ended", "reason": "stopped"}, 702, 0),
        ({"state": "ended", "reason": "lifetime_exceeded"}, 702, 0),
        ({"state": "failed", "reason": "media_crash"}, 702, 0),
    ],
)
def test_numbers_of_line_1(change: dict[str, Any], kind: int, status: int) -> None:
    told = trtc(**change)
    assert (told["EventType"], told["EventInfo"]["Status"]) == (kind, status)


def test_line_2() -> None:
    assert volc() == {
        "EventId": "9f1c2b60-0000-4000-8000-000000000001",
        "EventTime": "2021-08-17T19:22:02+08:00",
        "EventType": "RelayStreamStateChanged",
        "EventData": {
            "RoomId": "3886418645352636424",
            "TaskId": "VmKu+/Yq",
            "UserId": "bot-1",
            "StreamUrl": "https://example.com/audio.mp3",
            "Status": 2,
            "StartTimeStamp": 0,
            "Msg": "",
            "Vid": "run_1",
            "Reason": 0,
        },
    }


@pytest.mark.parametrize(
    ("change", "status", "message", "reason"),
    [
        ({"state": "starting"}, 1, "", 0),
        ({}, 2, "", 0),
        ({"again": True}, 2, "source reconnected", 0),
        ({"state": "recovering", "reason": "sound_stopped", "text": "no sound"}, 2, "no sound", 1023),
        ({"state": "ended", "reason": "stopped", "text": "stopped by api"}, 3, "stopped by api", 0),
        ({"state": "failed", "reason": "source_refused", "text": "404"}, 3, "404", 1002),
        ({"state": "failed", "reason": "invalid_position", "text": "behind"}, 3, "behind", 1016),
        ({"state": "ended", "reason": "lifetime_exceeded", "text": "over"}, 3, "over", 1006),
    ],
)
def test_numbers_of_line_2(change: dict[str, Any], status: int, message: str, reason: int) -> None:
    data = volc(**change)["EventData"]
    assert (data["Status"], data["Msg"], data["Reason"]) == (status, message, reason)


@pytest.mark.parametrize("form", [TrtcForm(), VolcForm()])
def test_a_minute_of_tries_of_the_same_body(form: Form) -> None:
    told = entry(Dialect.BOT_TRTC)
    assert form.render(told, None) == form.render(told, None)
    tries, at = [0.0], 0.0
    # Each delivery takes 5 s, which the pauses contain.
    while (again := form.retry.next_at(len(tries), 0.0, at, at + 5)) is not None:
        tries.append(at := again)
    assert tries == [0, 10, 20, 30, 40, 50, 60]
