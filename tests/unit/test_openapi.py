"""The OpenAPI documents of both dialects: all of their tables, and nothing that a reader has no use for."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.routing import Router

from sluice.api import docs, examples
from sluice.api.heybox import errors as bot_errors
from sluice.api.heybox.channels import CreateChannel
from sluice.api.heybox.fields import Body
from sluice.api.heybox.streams import Push, Stop
from sluice.api.proxies import TrustedProxies
from sluice.api.volcengine.actions import action_table
from sluice.callbacks.forms.volcengine_events import EVENT_TYPES
from tests.testing import FakeBans, FakeCallbacks, FakeRooms, FakeTasks
from tests.unit.asgi import call

ACTIONS = action_table(FakeTasks(lambda: 0.0), FakeRooms(), FakeBans(), FakeCallbacks())
BODIES: dict[str, type[Body]] = {"/v3/push": Push, "/v3/stop": Stop, "/v3/create": CreateChannel}
ROUTES = [*docs.routes(ACTIONS, BODIES, "1.2.3"), docs.native_route(lambda: {"openapi": "3.1.0"})]
APP = Router(ROUTES)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    answer = call(APP, "GET", "/openapi/volcengine.json")
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def operation(document: dict[str, Any], name: str, method: str = "post") -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][f"/?Action={name}"][method]
    return found


def parameters(found: dict[str, Any]) -> dict[str, Any]:
    return {parameter["name"]: parameter for parameter in found["parameters"]}


def test_one_entry_for_each_action(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == "1.2.3"
    assert set(document["paths"]) == {f"/?Action={action.name}" for action in ACTIONS}
    for action in ACTIONS:
        found = operation(document, action.name, action.method.lower())
        assert set(action.versions) <= set(parameters(found)["Version"]["schema"]["enum"])
        assert found["description"]


def test_parameters(document: dict[str, Any]) -> None:
    listed = parameters(operation(document, "ListRelayStream", "get"))
    assert listed["AppId"]["required"] is True
    assert listed["Limit"]["required"] is False
    assert listed["Limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 10}
    start = document["components"]["schemas"]["StartRelayStream"]
    assert start["required"] == ["AppId", "RoomId", "TaskId", "UserId", "Token", "Control"]
    size = document["components"]["schemas"]["Control"]["properties"]["VideoWidth"]
    assert {name: size[name] for name in size if name != "description"} == {
        "type": "integer",
        "minimum": 16,
        "maximum": 1920,
    }


def test_what_may_stand_in_query_and_body(document: dict[str, Any]) -> None:
    found = operation(document, "DeleteCallback")
    assert found["requestBody"]["required"] is False
    assert parameters(found)["AppId"]["required"] is False


def test_every_field_of_a_request_is_described(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for action in ACTIONS:
        for name, field in schemas[action.request.__name__]["properties"].items():
            described = field.get("description") or schemas[field["$ref"].split("/")[-1]]["description"]
            assert described, f"{action.name}.{name}"


def test_results(document: dict[str, Any]) -> None:
    def result(name: str, method: str = "post") -> Any:
        schema = operation(document, name, method)["responses"]["200"]["content"]["application/json"][
            "schema"
        ]
        return schema.get("anyOf", [schema])[0]["properties"]["Result"]

    assert result("StopRelayStream") == {"const": "ok", "type": "string"}
    assert result("ListRelayStream", "get") == {"$ref": "#/components/schemas/RelayPage"}
    assert len(result("BanRoomUser")["anyOf"]) == 2
    plain = operation(document, "GetRoomOnlineUsers", "get")["responses"]["200"]["content"]
    assert "anyOf" not in plain["application/json"]["schema"], (
        "its versions answer failures with their status"
    )


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from (value for name, value in node.items() if name == "$ref")
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    schemas = document["components"]["schemas"]
    used = set(references(document))
    assert used <= {f"#/components/schemas/{name}" for name in schemas}
    assert "null" not in json.dumps(document)


def test_every_action_has_an_example(document: dict[str, Any]) -> None:
    assert {action.name for action in ACTIONS} == set(examples.VOLCENGINE)
    listed = parameters(operation(document, "ListRelayStream", "get"))
    assert listed["RoomId"]["example"] == "Room1"
    assert "example" not in listed["Limit"]


def test_errors_are_those_of_the_tables(document: dict[str, Any]) -> None:
    rows = document["x-errors"]
    assert {name: value for name, value in rows[7].items() if name != "message"} == {
        "code": "InvalidAccessKey",
        "code_n": 100009,
        "status": 401,
    }
    assert "InternalError" in {row["code"] for row in rows}
    bots = call(APP, "GET", "/openapi/heybox.json").json()["x-errors"]
    assert len(bots) == len([row for row in vars(bot_errors).values() if isinstance(row, bot_errors.Row)])


def test_the_bot_api() -> None:
    found = call(APP, "GET", "/openapi/heybox.json").json()
    assert set(found["paths"]) == set(BODIES)
    push = found["components"]["schemas"]["Push"]
    assert push["required"] == ["room_id", "channel_id", "stream_url", "operator"]
    assert {name: push["properties"]["volume"][name] for name in ("minimum", "maximum", "default")} == {
        "minimum": 0,
        "maximum": 100,
        "default": 100,
    }
    for model in BODIES.values():
        schema = found["components"]["schemas"][model.__name__]
        assert schema["description"]
        assert all(field["description"] for field in schema["properties"].values())
        model.read(examples.BOTS[model.__name__])


def test_callbacks_are_described_as_they_are_sent(document: dict[str, Any]) -> None:
    def compare(schema: dict[str, Any], body: dict[str, Any]) -> None:
        assert set(schema["properties"]) - {"BusinessId"} == set(body) - {"BusinessId"}
        for name, field in schema["properties"].items():
            if "contentSchema" in field:
                compare(field["contentSchema"], json.loads(body[name]))
            elif "properties" in field:
                compare(field, body[name])

    bots = call(APP, "GET", "/openapi/heybox.json").json()
    assert set(document["webhooks"]) == set(EVENT_TYPES.values())
    for callback in (*document["webhooks"].values(), *bots["webhooks"].values()):
        content = callback["post"]["requestBody"]["content"]["application/json"]
        compare(content["schema"], content["example"])
        assert callback["post"]["description"]


def test_the_page_loads_nothing_from_elsewhere() -> None:
    answer = call(APP, "GET", "/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert b"http://" not in answer.body
    assert b"https://" not in answer.body


def test_behind_a_path_prefix() -> None:
    app = TrustedProxies(Router(ROUTES), (), "/sluice")
    for path in ("/openapi/volcengine.json", "/openapi/heybox.json", "/openapi.json"):
        assert call(app, "GET", path).json()["servers"] == [{"url": "/sluice"}]
        assert "servers" not in call(APP, "GET", path).json()
