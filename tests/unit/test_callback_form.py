"""The Volcengine form: envelope, signature, data of each event (docs/contract/callbacks.md 1 to 5)."""

import json
from dataclasses import replace
from typing import Any

import pytest

from sluice.callbacks.forms.form import NobodyRegistered
from sluice.callbacks.forms.volcengine import VolcengineForm
from sluice.callbacks.forms.volcengine_events import EVENT_NAMES, EVENT_TYPES, events_of, names_of
from sluice.core.callbacks import LONG_RETRY, EventKind, Registration
from sluice.core.ids import AppId, BusinessId
from sluice.core.plan import ONLY_H264_IS_COPIED
from sluice.core.tasks import Dialect
from sluice.store.outbox import OutboxEntry
from sluice.wire.callback_bodies import Envelope, data_text, nonce_of, rfc3339, signature

AT = 1_698_796_800.0
APP = AppId("661e0000000000000000543c")
REGISTRATION = Registration(APP, BusinessId(""), "http://receiver/", "callback-secret", (), 0, 0)
#: The test vector of section 2.
VECTOR = {
    "EventType": "RelayStreamStateChanged",
    "EventData": '{"RoomId":"Room1","TaskId":"Task1","UserId":"user1","StreamUrl":"rtmp://xxx","Status":2,'
    '"StartTimeStamp":0,"Msg":"","Vid":"v1","Reason":0}',
    "EventTime": "2023-11-01T00:00:00.000000000Z",
    "EventId": "evt-0001",
    "AppId": "661e0000000000000000543c",
    "Version": "2020-12-01",
    "Nonce": "1234",
    "Noce": "1234",
    "Signature": "f383c621d90010fd45f9bf05aab94776939812a83e5d8bf22afb8239dc2f4be2",
}


def entry(kind: EventKind, data: dict[str, Any]) -> OutboxEntry:
    return OutboxEntry(
        id=1,
        event_id="evt-0001",
        app_id=APP,
        destination=REGISTRATION.destination,
        order_key="key",
        dialect=Dialect.VOLCENGINE,
        kind=kind,
        data={"room_id": "Room1", "at": AT, **data},
        created_at=AT,
        status="pending",
        attempts=0,
        first_at=None,
        next_at=AT,
        settled_at=None,
        last_error="",
        epoch=0,
    )


def document(kind: EventKind, **data: Any) -> dict[str, Any]:
    post = VolcengineForm(LONG_RETRY).render(entry(kind, data), REGISTRATION)
    assert (post.url, post.headers) == ("http://receiver/", {"Content-Type": "application/json"})
    envelope = json.loads(post.body)
    assert isinstance(envelope, dict)
    return envelope


def data_of(kind: EventKind, **data: Any) -> Any:
    return json.loads(document(kind, **data)["EventData"])


def relay(**changes: Any) -> dict[str, Any]:
    return {
        "run_id": "v1",
        "task_id": "Task1",
        "user_id": "user1",
        "business_id": "",
        "url": "rtmp://xxx",
        "start_at": 0,
        "state": "running",
        "reason": "none",
        "text": "",
        "again": False,
    } | changes


def test_the_vector_of_the_contract() -> None:
    data = data_text(data_of(EventKind.RELAY_STATE, **relay()))
    assert data == VECTOR["EventData"], "the fields and their order too"
    envelope = Envelope(
        VECTOR["EventType"], data, AT, VECTOR["EventId"], APP, "", nonce="1234", secret="callback-secret"
    )
    assert json.loads(envelope.body()) == VECTOR


def test_the_signature_sorts_bytes() -> None:
    assert signature("ю", "b", "A", secret="a") == signature("A", "a", "b", secret="ю")
    assert signature("a", secret="b") != signature("a", secret="c")


def test_each_try_has_the_same_body() -> None:
    tries = [document(EventKind.RELAY_STATE, **relay()) for _ in range(2)]
    assert tries[0] == tries[1]
    assert tries[0]["Nonce"] == tries[0]["Noce"] == nonce_of("evt-0001")
    assert len({nonce_of(str(n)) for n in range(100)}) > 50
    assert {len(nonce_of(str(n))) for n in range(100)} == {4}


def test_event_time() -> None:
    assert rfc3339(AT + 0.25) == "2023-11-01T00:00:00.250000000Z"


def test_the_business_is_named_where_there_is_one() -> None:
    assert "BusinessId" not in document(EventKind.RELAY_STATE, **relay())
    assert document(EventKind.RELAY_STATE, **relay(business_id="b1"))["BusinessId"] == "b1"


def test_nobody_is_told_without_a_registration() -> None:
    with pytest.raises(NobodyRegistered):
        VolcengineForm(LONG_RETRY).render(entry(EventKind.RELAY_STATE, relay()), None)


def test_the_secret_is_that_of_now() -> None:
    form, told = VolcengineForm(LONG_RETRY), entry(EventKind.RELAY_STATE, relay())
    other = form.render(told, replace(REGISTRATION, secret="other", url="http://other/"))
    assert other.url == "http://other/"
    assert json.loads(other.body)["EventId"] == "evt-0001"


@pytest.mark.parametrize(
    ("change", "status", "message", "reason"),
    [
        (relay(state="scheduled"), 1, "", 0),
        (relay(state="starting"), 1, "", 0),
        (relay(), 2, "", 0),
        (relay(again=True), 2, "source reconnected", 0),
        (relay(state="recovering", reason="pictures_stopped", text="no pictures"), 2, "no pictures", 1022),
        (relay(state="ended", reason="stopped", text="stopped by api"), 3, "stopped by api", 0),
        (relay(state="ended", reason="end_of_stream", text="end of stream"), 3, "end of stream", 0),
        (
            relay(state="ended", reason="idle_timeout", text="no media for 300 s"),
            3,
            "no media for 300 s",
            1005,
        ),
        (relay(state="failed", reason="source_refused", text="404"), 3, "404", 1002),
    ],
)
def test_states_of_a_relay(change: dict[str, Any], status: int, message: str, reason: int) -> None:
    data = data_of(EventKind.RELAY_STATE, **change)
    assert (data["Status"], data["Msg"], data["Reason"], data["Vid"]) == (status, message, reason, "v1")


def test_what_cannot_be_copied_is_told_in_the_words_of_the_call() -> None:
    text = f"the source's video is VP9; {ONLY_H264_IS_COPIED}"
    data = data_of(EventKind.RELAY_STATE, **relay(state="failed", reason="source_unsupported", text=text))
    assert data["Msg"] == "the source's video is VP9; StreamMode 1 copies and takes only H.264"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (EventKind.PUSH_STARTED, "TranscodeStarted"),
        (EventKind.PUSH_UPDATED, "TranscodeUpdated"),
        (EventKind.PUSH_STATE, "TranscodeStateChanged"),
        (EventKind.PUSH_STOPPED, "TranscodeStopped"),
    ],
)
def test_pushes(kind: EventKind, name: str) -> None:
    push = relay(state="ended", stage="waiting", reason="idle_timeout", text="nobody came")
    told = document(kind, **push)
    assert told["EventType"] == name
    assert json.loads(told["EventData"]) == {
        "AppId": APP,
        "BusinessId": "",
        "RoomId": "Room1",
        "TaskId": "Task1",
        "Code": 0,
        "ErrorMessage": "",
        "Status": 3,
        "PushStreamState": 6,
        "StopReason": "IdleTimeOut",
        "Reason": "IdleTimeOut",
        "Timestamp": 1698796800000,
    }
    failed = data_of(kind, **push | {"state": "failed"})
    assert (failed["Code"], failed["ErrorMessage"]) == (1, "nobody came")


def test_a_push_that_an_earlier_release_wrote_down() -> None:
    push = relay(state="stopping", status=2, push_stream_state=6, stop_reason="", text="")
    data = data_of(EventKind.PUSH_STATE, **push)
    assert (data["Status"], data["PushStreamState"], data["StopReason"]) == (2, 6, "")


def test_rooms_and_users() -> None:
    user = {"user_id": "user1", "device": "server"}
    assert data_of(EventKind.ROOM_CREATED) == {"RoomId": "Room1", "Timestamp": 1698796800000}
    assert data_of(EventKind.ROOM_DESTROYED, duration_ms=5) == {
        "RoomId": "Room1",
        "Timestamp": 1698796800000,
        "Duration": 5,
    }
    joined = {
        "RoomId": "Room1",
        "UserId": "user1",
        "DeviceType": "server",
        "Timestamp": 1698796800000,
        "UserExtraInfo": "",
    }
    assert data_of(EventKind.USER_JOINED, **user) == joined
    left = data_of(EventKind.USER_LEFT, **user, why="left", duration_ms=60000)
    assert left == joined | {"Reason": 0, "Duration": 60000}
    reasons = [data_of(EventKind.USER_LEFT, **user, why=why)["Reason"] for why in ("dropped", "removed")]
    assert reasons == [1, 3]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (EventKind.AUDIO_STARTED, "UserStartAudioCapture"),
        (EventKind.AUDIO_STOPPED, "UserStopAudioCapture"),
        (EventKind.VIDEO_STARTED, "UserStartVideoCapture"),
        (EventKind.VIDEO_STOPPED, "UserStopVideoCapture"),
    ],
)
def test_captures(kind: EventKind, name: str) -> None:
    told = document(kind, user_id="user1", device="", stream=1)
    assert told["EventType"] == name
    assert json.loads(told["EventData"]) == {
        "RoomId": "Room1",
        "UserId": "user1",
        "DeviceType": "",
        "Timestamp": 1698796800000,
        "ExtraInfo": "",
        "StreamIndex": 1,
        "Reason": 0,
    }


def test_every_kind_has_a_name() -> None:
    assert set(EVENT_TYPES) == set(EventKind)


def test_event_lists_come_back_as_they_were_given() -> None:
    given = ["RecordStarted", "TranscodeStopped", "RelayStreamStateChanged", "TranscodeStopped"]
    kept = events_of(given)
    assert kept == ("RecordStarted", "push_stopped", "relay_state")
    assert names_of(kept) == given[:3]
    assert names_of(events_of(sorted(EVENT_NAMES))) == sorted(EVENT_NAMES)


@pytest.mark.parametrize("given", [[], ["relay_state"], ["RoomCreate", "Nonsense"], [""]])
def test_event_lists_with_something_else_are_refused(given: list[str]) -> None:
    with pytest.raises(ValueError, match=r"must name at least one event|there is no event"):
        events_of(given)
