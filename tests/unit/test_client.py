"""The client: what it sends, and one clear text for every way in which a node does not answer."""

import io
import json
import urllib.error
import urllib.request
from email.message import Message
from typing import Any, Self

import pytest

from sluice.client import CallFailed, Client, read_params
from sluice.core.apps import AccessKey

KEY = AccessKey("AKLTtest", "secret", frozenset())
CLIENT = Client("http://127.0.0.1:8080", KEY, "admin")
NOW = 1_800_000_000.0


class Answer(io.BytesIO):
    status = 200


class Node:
    """Stands for urllib's opener: keeps the requests and gives one prepared answer."""

    def __init__(self) -> None:
        self.requests: list[urllib.request.Request] = []
        self.handlers: tuple[Any, ...] = ()
        self.answer: bytes | Exception = b"{}"

    def build(self, *handlers: Any) -> Self:
        self.handlers = handlers
        return self

    def open(self, request: urllib.request.Request, timeout: float) -> Answer:
        assert timeout > 0
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return Answer(self.answer)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    node = Node()
    monkeypatch.setattr(urllib.request, "build_opener", node.build)
    return node


def test_a_call_that_changes_something_is_a_signed_post(node: Node) -> None:
    node.answer = json.dumps({"ResponseMetadata": {}, "Result": "ok"}).encode()
    params = {"AppId": "a", "Control": {"Loop": True}}
    assert CLIENT.call("StartRelayStream", "2023-11-01", params, NOW)["Result"] == "ok"
    (request,) = node.requests
    assert request.method == "POST"
    assert request.full_url == "http://127.0.0.1:8080/?Action=StartRelayStream&Version=2023-11-01"
    assert isinstance(request.data, bytes)
    assert json.loads(request.data) == params
    headers = {name.lower(): value for name, value in request.header_items()}
    assert headers["host"] == "127.0.0.1:8080"
    assert headers["authorization"].startswith("HMAC-SHA256 Credential=AKLTtest/")
    assert "secret" not in str(headers)
    assert node.handlers[0].proxies == {}, "never through a proxy of the environment"


def test_a_call_that_reads_is_a_get_with_its_parameters_in_the_address(node: Node) -> None:
    node.answer = b'{"ResponseMetadata": {}}'
    CLIENT.call("ListRelayStream", "2023-11-01", {"RoomId": "a b&c", "Limit": 5}, NOW)
    (request,) = node.requests
    assert (request.method, request.data) == ("GET", None)
    assert request.full_url.endswith("&RoomId=a%20b%26c&Limit=5")


def test_the_native_api_gets_the_admin_token(node: Node) -> None:
    assert CLIENT.native("POST", "/tasks/run_1/stop") == {}
    (request,) = node.requests
    assert request.full_url == "http://127.0.0.1:8080/api/v1/tasks/run_1/stop"
    assert request.get_header("Authorization") == "Bearer admin"


def http_error(body: bytes, status: int = 400) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("http://x", status, "Bad", Message(), io.BytesIO(body))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            http_error(b'{"ResponseMetadata": {"Error": {"Code": "InvalidParameter", "Message": "RoomId"}}}'),
            "InvalidParameter: RoomId",
        ),
        (urllib.error.URLError(ConnectionRefusedError(111, "refused")), "start one with: sluice serve"),
        (TimeoutError("timed out"), "no node answers at http://127.0.0.1:8080"),
        (b"<html>", r"does not answer with JSON \(HTTP 200\)"),
        (http_error(b"Bad Gateway"), r"does not answer with JSON \(HTTP 400\)"),
        (http_error(b"the node does not answer; use --hosts n\n", 421), "^the node .* --hosts n$"),
        (http_error(b"<html>the node", 503), r"does not answer with JSON \(HTTP 503\)"),
        (b"{}", "is no sluice node"),
        (b"[1]", "is no sluice node"),
        (b'{"ResponseMetadata": null}', "is no sluice node"),
    ],
)
def test_failed_calls(node: Node, answer: bytes | Exception, says: str) -> None:
    node.answer = answer
    with pytest.raises(CallFailed, match=says):
        CLIENT.call("StopRelayStream", "2023-11-01", {}, NOW)


def test_a_call_that_is_too_long(node: Node) -> None:
    node.answer = http_error(b"Invalid HTTP request received.")
    with pytest.raises(CallFailed, match=r"too long: its address has 70\d{3} characters.*\(HTTP 400\)"):
        CLIENT.call("ListRelayStream", "2023-11-01", {"RoomId": "a" * 70_000}, NOW)


def test_failed_native_calls(node: Node) -> None:
    node.answer = http_error(b'{"error": {"code": "TaskNotFound", "message": "there is no task x"}}')
    with pytest.raises(CallFailed, match="there is no task x") as failure:
        CLIENT.native("GET", "/tasks/x")
    assert failure.value.document == {"error": {"code": "TaskNotFound", "message": "there is no task x"}}
    node.answer = http_error(b'{"ResponseMetadata": {"Error": {"Code": "InvalidActionOrVersion"}}}')
    with pytest.raises(CallFailed, match="nothing at /tasks/"):
        CLIENT.native("GET", "/tasks/")
    node.answer = b'{"error": "nope"}'
    with pytest.raises(CallFailed, match="refused"):
        CLIENT.native("GET", "/tasks/x")


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8080",
        "ftp://h",
        "",
        "http://[",
        "http://h:x",
        "http://h:0",
        "http://é",
        "http://a b",
        "http://",
    ],
)
def test_what_is_no_address_of_a_node(node: Node, url: str) -> None:
    client = Client(url, KEY, "admin")
    with pytest.raises(CallFailed, match="http://host:port"):
        client.native("GET", "/tasks")
    with pytest.raises(CallFailed, match="http://host:port"):
        client.call("StopRelayStream", "2023-11-01", {}, NOW)
    assert node.requests == []


def test_parameters() -> None:
    pairs = ["AppId=123", "Control.StreamUrl=http://h/a=b?c=1", "Control.Loop=True", "Control.Width=640"]
    assert read_params([*pairs, "RoomId=", "Name=a b", "X.Y.Z=-1"]) == {
        "AppId": "123",
        "Control": {"StreamUrl": "http://h/a=b?c=1", "Loop": True, "Width": 640},
        "RoomId": "",
        "Name": "a b",
        "X": {"Y": {"Z": -1}},
    }


def test_lists_and_json() -> None:
    assert read_params(
        [
            "EventList.0=A",
            "EventList.1=B",
            "X.Y.1=true",
            "X.Y.0=5",
            'Names=["a", 1]',
            'Z={"a": []}',
            "TaskId=[1]",
        ]
    ) == {
        "EventList": ["A", "B"],
        "X": {"Y": [5, True]},
        "Names": ["a", 1],
        "Z": {"a": []},
        "TaskId": "[1]",
    }
    long = [f"L.{n}={n}" for n in range(12)]
    assert read_params(long)["L"] == list(range(12))


@pytest.mark.parametrize(
    "pairs",
    [
        ["Loop"],
        ["=1"],
        ["Control=1", "Control.Loop=true"],
        ["EventList=A", "EventList=B"],
        ["EventList.1=A"],
        ["EventList.0=A", "EventList.x=B"],
        ["EventList=[A]"],
        ["EventList=" + "[" * 100_000],
        ["Control.Loop=true", "Control=1"],
    ],
)
def test_parameters_that_make_no_sense(pairs: list[str]) -> None:
    with pytest.raises(CallFailed):
        read_params(pairs)


@pytest.mark.parametrize("name", ["EventList", "EventList.0", "EventList.00", "X.Y.5"])
def test_the_advice_how_a_list_is_written(name: str) -> None:
    of = name.rstrip(".0123456789")
    with pytest.raises(CallFailed) as failure:
        read_params([f"{name}=a", f"{name}=b"])
    assert str(failure.value).endswith(f"written as {of}.0=… {of}.1=…")
