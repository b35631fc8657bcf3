"""Addresses that no server can have, wherever an API takes one: answered with a text, never as our own
fault."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_from_bytes, urlencode

import pytest

from sluice.config import load_settings
from sluice.core.errors import BadInput
from tests.unit.heybox import Api, making
from tests.unit.test_volcengine_callbacks import CREATE, Dialect
from tests.unit.test_volcengine_gateway import FakeGateway
from tests.unit.test_volcengine_push import START as PUSH_START
from tests.unit.test_volcengine_push import request as push_request
from tests.unit.test_volcengine_relay import START
from tests.unit.test_volcengine_relay import request as relay_request

_SCHEMES = ("http", "rtmp")
_RESTS = (
    "[x",
    "[x]/a",
    "[::1",
    "[]/a",
    "[fe80::1%25eth0]/a",
    "[::ffff:1.2.3.4.5]/a",
    "[" + ":" * 5000 + "]/a",
    "a" * 64 + ".example/a",
    ".".join(["a" * 60] * 20) + "/a",
    "ü" * 64 + ".example/a",
    "xn--" + "a" * 59 + ".example/a",
    "h:" + "9" * 5000 + "/a",
    "h:0/a",
    "h:-1/a",
    "h:²/a",
    "9" * 5000 + "/a",
    "0x" + "f" * 5000 + "/a",
    "1.2.3." + "9" * 5000 + "/a",
    "h/\ud800",
    "\udcff.example/a",
    "h/\x00",
    "h\x00.example/a",
    "%00/a",
    "%ff%fe/a",
    "a..b/a",
    "." * 300 + "/a",
    "@/a",
    "user:pass@/a",
    "user@[x/a",
    ":" * 5000,
    "/" * 5000,
    "h/" + "%" * 5000,
    "h/?" + "&" * 5000,
    "h\u2100.example/a",
    "\u3002/a",
    "",
)
ADDRESSES = [f"{scheme}://{rest}" for scheme in _SCHEMES for rest in _RESTS]
ADDRESSES += ["http:", "://", "http:///", "//h/a", "\ud800", "\x00", "x:" + "9" * 5000, "http:" + "/" * 9]


@pytest.fixture
def bots() -> Iterator[Api]:
    yield from making()


def blamed(document: dict[str, Any], address: str) -> list[str]:
    return [ascii(address)[:80]] if "internal" in json.dumps(document).lower() else []


def as_form(fields: dict[str, Any], name: str, address: str) -> bytes:
    """A form, in which bytes that are no text can stand."""
    flat = {key: value for key, value in fields.items() if isinstance(value, str) and key != name}
    value = quote_from_bytes(address.encode("utf-8", "surrogatepass"))
    return f"{urlencode(flat)}&{name}={value}".encode()


def test_the_signed_dialect() -> None:
    ours, form = [], "application/x-www-form-urlencoded"
    for address in ADDRESSES:
        gateway = FakeGateway()  # each has its own limit of calls in a second
        relay, push = relay_request(Control__StreamUrl=address), push_request(PushURL=address)
        ours += blamed(gateway.send(START, json.dumps(relay).encode()).json(), address)
        ours += blamed(gateway.send(PUSH_START, json.dumps(push).encode()).json(), address)
        relay["Control.StreamMode"], push["Control.MediaType"] = "1", "0"
        for action, document, name in (
            (START, relay, "Control.StreamUrl"),
            (PUSH_START, push | {"Stream.UserId": "user1"}, "PushURL"),
        ):
            body = as_form(document, name, address)
            ours += blamed(gateway.send(action, body, content_type=form).json(), address)
    assert ours == []


def test_callbacks() -> None:
    dialect = Dialect()
    ours = []
    for address in ADDRESSES:
        _, said = dialect.call("CreateCallback", CREATE | {"URL": address})
        ours += blamed({"said": said}, address)
    assert ours == []


def test_bots(bots: Api) -> None:
    ours = []
    for address in ADDRESSES:
        bots.now += 61  # the limit of calls is not what is looked at here
        ours += blamed(bots.push(stream_url=address).json(), address)
        ours += blamed(bots.push(callback_url=address).json(), address)
    assert ours == []


@pytest.mark.parametrize("name", ["base_url", "ice_server", "listen"])
def test_settings(name: str, tmp_path: Any) -> None:
    blamed_settings = set()
    for address in ADDRESSES:
        try:
            load_settings({name: address}, {}, tmp_path / "sluice.toml")
        except BadInput as error:
            blamed_settings.add(error.field)
    assert blamed_settings == {f"--{name.replace('_', '-')}"}
