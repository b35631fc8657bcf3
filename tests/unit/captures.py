"""Requests of official SDK clients as they went over the wire (tests/data/captures), and their keys."""

from dataclasses import dataclass
from pathlib import Path

from sluice.core.apps import AccessKey
from sluice.wire.signature import RequestHead, parse_query

FOLDER = Path(__file__).parent.parent / "data" / "captures"
#: 2026-11-20 09:21:40 and 09:23:37 UTC, the X-Date of the Python and of the Go clients.
PYTHON_TIME, GO_TIME = 1795166500, 1795166617
SESSION_TOKEN = "STS2tok"
KEY = AccessKey("AKLTtest", "c2VjcmV0", frozenset())


def lookup(access_key: str) -> AccessKey | None:
    return KEY if access_key == KEY.access_key else None


@dataclass(frozen=True)
class Capture:
    name: str
    target: str
    head: RequestHead
    body: bytes
    now: float


def load(path: Path) -> Capture:
    raw_head, _, raw_body = path.read_bytes().partition(b"\r\n\r\n")
    request_line, *lines = raw_head.decode().split("\r\n")
    method, target, _ = request_line.split(" ")
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    path_text, _, query = target.partition("?")
    head = RequestHead(method, path_text, parse_query(query), headers)
    body = _dechunk(raw_body) if head.header("transfer-encoding") == "chunked" else raw_body
    name = f"{path.parent.name}/{path.stem}"
    return Capture(name, target, head, body, GO_TIME if name.startswith("go") else PYTHON_TIME)


def load_all() -> list[Capture]:
    return [load(path) for path in sorted(FOLDER.glob("*/*.raw"))]


def _dechunk(raw: bytes) -> bytes:
    body = b""
    while True:
        size, _, raw = raw.partition(b"\r\n")
        if int(size, 16) == 0:
            return body
        body, raw = body + raw[: int(size, 16)], raw[int(size, 16) + 2 :]
