"""The callback family: registrations by calls, in both spellings, in body and query
(docs/contract/volcengine.md 10)."""

import asyncio
import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from sluice.api.volcengine.actions import action_table
from sluice.api.volcengine.gateway import Gateway
from sluice.callbacks.forms.volcengine_events import EVENT_NAMES
from sluice.core.apps import AccessKey, App, Apps
from sluice.core.ids import AppId, BusinessId
from sluice.wire.signature import RequestHead, parse_query, sign
from tests.testing import FakeBans, FakeCallbacks, FakeRooms, FakeTasks
from tests.unit.asgi import call

NOW = 1_698_796_800.0
APP = App(AppId("661e0000000000000000543c"), "app-key")
KEY = AccessKey("AKLTowner", "secret", frozenset({APP.app_id}))
EVENTS = ["RelayStreamStateChanged", "TranscodeStopped"]
CREATE = {
    "AppID": APP.app_id,
    "BusinessId": "",
    "EventList": EVENTS,
    "SecretKey": "callback-secret",
    "URL": "https://example.com/callback",
}


class Dialect:
    def __init__(self) -> None:
        self.now = NOW
        self.callbacks = FakeCallbacks()
        tasks = FakeTasks(lambda: self.now)
        actions = action_table(tasks, FakeRooms(), FakeBans(), self.callbacks)
        self.app = Gateway(actions, Apps([APP], [KEY]), lambda: self.now)

    def call(self, action: str, body: Any = None, **query: str) -> tuple[int, Any]:
        """The HTTP status, and the Result or the code and message of the error."""
        method = "GET" if action.startswith("Get") else "POST"
        text = urlencode({"Action": action, "Version": "2020-12-01", **query})
        data = b"" if body is None else json.dumps(body).encode()
        headers = {"Host": "h:1", "Content-Type": "application/json"}
        head = RequestHead(method, "/", parse_query(text), tuple(headers.items()))
        self.now += 1  # the limit of calls in a second is not what is looked at here
        headers |= sign(head, data, KEY, self.now)
        answer = call(self.app, method, f"/?{text}", headers.items(), [data])
        document = answer.json()
        error = document["ResponseMetadata"].get("Error")
        return answer.status, document["Result"] if error is None else (error["Code"], error["Message"])

    def refused(self, action: str, body: Any = None, **query: str) -> str:
        """The message of an InvalidParameter."""
        status, (code, message) = self.call(action, body, **query)
        assert (status, code) == (200, "InvalidParameter")
        return str(message)


@pytest.fixture
def dialect() -> Dialect:
    return Dialect()


def test_the_result_of_the_contract(dialect: Dialect) -> None:
    assert dialect.call("CreateCallback", CREATE) == (200, "ok")
    created = dialect.callbacks.registered[APP.app_id, BusinessId("")]
    dialect.callbacks.registered[APP.app_id, BusinessId("")] = replace(
        created, created_at=NOW, updated_at=NOW
    )
    fields = {
        "AccountId": "",
        "AppId": APP.app_id,
        "BusinessId": "",
        "CreatedAt": "2023-11-01T00:00:00Z",
        "Region": "cn-north-1",
        "SecretKey": "callback-secret",
        "URL": "https://example.com/callback",
        "UpdatedAt": "2023-11-01T00:00:00Z",
    }
    assert dialect.call("GetCallback", AppId=APP.app_id) == (
        200,
        fields | {"EventList": ",".join(EVENTS), "Callbacks": [fields | {"EventList": EVENTS}]},
    )


def test_an_app_without_callbacks(dialect: Dialect) -> None:
    names = ["AccountId", "AppId", "BusinessId", "CreatedAt", "EventList", "Region", "SecretKey", "URL"]
    expected: dict[str, Any] = dict.fromkeys((*names, "UpdatedAt"), "")
    expected["Callbacks"] = []
    assert dialect.call("GetCallback", AppId=APP.app_id) == (200, expected)


def test_the_first_stands_on_top_where_the_app_has_none_of_its_own(dialect: Dialect) -> None:
    for business_id in ("b2", "b1"):
        dialect.call("CreateCallback", CREATE | {"BusinessId": business_id})
    _, result = dialect.call("GetCallback", AppId=APP.app_id)
    assert result["BusinessId"] == "b1"
    assert [item["BusinessId"] for item in result["Callbacks"]] == ["b1", "b2"]


def test_both_spellings_in_body_and_query(dialect: Dialect) -> None:
    body = {name: CREATE[name] for name in ("EventList", "SecretKey", "URL")}
    create = {**body, "AppId": APP.app_id, "BusinessID": "b1"}
    assert dialect.call("CreateCallback", create) == (200, "ok")
    assert dialect.call("UpdateCallback", body, AppID=APP.app_id, BusinessId="b1") == (200, "ok")
    assert dialect.call("DeleteCallback", AppID=APP.app_id, BusinessID="b1") == (200, "ok")
    assert dialect.call("CreateCallback", {**CREATE, "BusinessID": "b2"} | {"BusinessId": None}) == (
        200,
        "ok",
    )
    assert dialect.call("DeleteCallback", {"AppId": APP.app_id, "BusinessId": "b2"}) == (200, "ok")
    assert dialect.callbacks.registered == {}
    assert dialect.call("GetCallback", AppID=APP.app_id)[0] == 200


def test_a_delete_with_an_empty_body_reads_the_query(dialect: Dialect) -> None:
    dialect.call("CreateCallback", CREATE)
    assert dialect.call("DeleteCallback", AppId=APP.app_id) == (200, "ok")
    assert dialect.refused("DeleteCallback", AppId=APP.app_id) == "callback does not exist"


def test_an_update_replaces_all_but_the_time_of_creation(dialect: Dialect) -> None:
    dialect.call("CreateCallback", CREATE)
    changed = {**CREATE, "EventList": ["RoomCreate"], "SecretKey": "new", "URL": "http://192.0.2.1:8080/x"}
    assert dialect.call("UpdateCallback", changed) == (200, "ok")
    _, result = dialect.call("GetCallback", AppId=APP.app_id)
    assert (result["EventList"], result["SecretKey"]) == ("RoomCreate", "new")
    assert result["URL"] == "http://192.0.2.1:8080/x"
    assert result["CreatedAt"] < result["UpdatedAt"]


def test_what_exists_and_what_does_not(dialect: Dialect) -> None:
    assert dialect.refused("UpdateCallback", CREATE) == "callback does not exist"
    dialect.call("CreateCallback", CREATE)
    assert dialect.refused("CreateCallback", CREATE) == "callback already exists"


def test_what_the_configuration_holds_is_shown_and_not_changed(dialect: Dialect) -> None:
    dialect.call("CreateCallback", CREATE)
    (registration,) = asyncio.run(dialect.callbacks.registrations(APP.app_id))
    key = registration.app_id, registration.business_id
    dialect.callbacks.registered[key] = replace(registration, from_config=True)
    assert "sluice.toml" in dialect.refused("UpdateCallback", CREATE)
    assert "sluice.toml" in dialect.refused("DeleteCallback", AppId=APP.app_id)
    assert dialect.call("GetCallback", AppId=APP.app_id)[1]["URL"] == CREATE["URL"]


def test_every_name_of_the_contract_may_be_listed(dialect: Dialect) -> None:
    names = sorted(EVENT_NAMES)
    assert dialect.call("CreateCallback", CREATE | {"EventList": names}) == (200, "ok")
    assert dialect.call("GetCallback", AppId=APP.app_id)[1]["Callbacks"][0]["EventList"] == names


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"URL": None}, "missing required parameter: URL"),
        ({"SecretKey": ""}, "missing required parameter: SecretKey"),
        ({"EventList": None}, "missing required parameter: EventList"),
        ({"AppID": None}, "missing required parameter: AppId"),
        ({"EventList": []}, "invalid parameter: EventList: must name at least one event"),
        ({"EventList": ["Nonsense"]}, "invalid parameter: EventList: there is no event 'Nonsense'"),
        (
            {"URL": "ftp://x/"},
            "invalid parameter: URL: must be an address with a host that begins with http:// or https://",
        ),
        (
            {"URL": f"http://x/{'y' * 4096}"},
            "invalid parameter: URL: must not be longer than 4096 characters",
        ),
        ({"SecretKey": "x" * 257}, "invalid parameter: SecretKey: must not be longer than 256 characters"),
        (
            {"BusinessId": "b 1"},
            "invalid parameter: BusinessId: must be 1 to 128 of the characters a-z A-Z 0-9 _ @ - .",
        ),
    ],
)
def test_what_is_refused(dialect: Dialect, changes: dict[str, Any], message: str) -> None:
    assert dialect.refused("CreateCallback", CREATE | changes) == message
    assert dialect.callbacks.registered == {}


@pytest.mark.parametrize("events", ["RoomCreate", [1], {"RoomCreate": True}])
def test_an_event_list_is_a_list_of_texts(dialect: Dialect, events: object) -> None:
    status, (code, _) = dialect.call("CreateCallback", CREATE | {"EventList": events})
    assert (status, code) == (200, "InvalidParameter.Unmarshal")


def test_an_illegal_app_id(dialect: Dialect) -> None:
    status, (code, _) = dialect.call("CreateCallback", CREATE | {"AppID": "a b"})
    assert (status, code) == (200, "InvalidParameter.IllegalAppId")
