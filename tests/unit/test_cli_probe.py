"""``sluice probe``: what it asks of the node, and what people read of the answer."""

import json
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from sluice import cli, cli_probe

APP = "661e0000000000000000543c"
OPUS = {"codec": "opus", "sample_rate": 48000, "channels": 2, "bitrate_kbps": 128}
COPIED = {"codec": "h264", "width": 1920, "height": 1080, "frame_rate": 25.0, "bitrate_kbps": 4500}


def variant(rate: int, chosen: bool, why: str) -> dict[str, Any]:
    size = {"width": None, "height": None, "frame_rate": None, "language": None, "name": None}
    return {"kind": "all", "chosen": chosen, "why": why, "bandwidth_kbps": rate, "codecs": ["avc1"], **size}


DOCUMENT: dict[str, Any] = {
    "url": "https://h.example/index.m3u8",
    "guard": {
        "allowed": True,
        "why": "all servers have an address that may be connected to",
        "hosts": [
            {
                "host": "h.example",
                "allowed": True,
                "addresses": [{"address": "8.8.8.8", "allowed": True, "why": "is public"}],
            }
        ],
    },
    "reached": {
        "step": "received",
        "connections": 3,
        "url": "https://h.example/",
        "status": 200,
        "bytes": 9000,
    },
    "source": {
        "container": "HLS",
        "segments": "MPEG-TS",
        "entries": None,
        "live": True,
        "seekable": False,
        "duration_s": None,
        "bitrate_kbps": 4628,
        "video": {
            "codec": "h264",
            "profile": "High",
            "width": 1920,
            "height": 1080,
            "pixel_aspect": "1:1",
            "rotation": 90,
            "frame_rate": 25.0,
            "bitrate_kbps": 4500,
            "gop_s": 2.0,
            "b_frames": False,
        },
        "audio": {
            "codec": "aac",
            "profile": "LC",
            "sample_rate": 48000,
            "channels": 2,
            "bitrate_kbps": 128,
            "language": "eng",
        },
        "variants": [
            variant(5000, True, "the best that can be played: H.264 first, then the highest bit rate"),
            variant(900, False, "its bit rate is lower"),
        ],
        "further_variants": 3,
        "seen_s": 4.0,
    },
    "modes": {
        "transcode": {"plan": None, "played": None, "cost": None, "failure": None},
        "copy": {
            "plan": {
                "video": {"action": "copy", "why": "source is H.264 without B-frames"},
                "audio": {"action": "transcode", "why": "rooms carry Opus, source is AAC"},
            },
            "played": {"video": COPIED, "audio": OPUS},
            "cost": {"cores": 0.0213, "mb": 9.6},
            "failure": None,
        },
    },
    "notes": ["a note\x1b[31m of a server"],
    "failure": None,
    "seconds": 1.5,
}


class Node:
    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.calls: list[tuple[str, str, dict[str, Any]]] = []

    def native(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.calls.append((method, path, body))
        return self.document


def run(monkeypatch: pytest.MonkeyPatch, node: Node, *options: str) -> tuple[int, str]:
    monkeypatch.setattr(cli_probe, "reach", lambda url, data: SimpleNamespace(client=node))
    result = CliRunner().invoke(cli.cli, ["probe", *options])
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ([], {}),
        (["--media", "audio", "--mode", "copy"], {"media_type": 1, "stream_mode": 1}),
        (["--mode", "transcode", "--width", "640", "--height", "360"], {"width": 640, "height": 360}),
        (["--frame-rate", "30", "--bitrate", "800", "--app", APP], {"frame_rate": 30, "bitrate_kbps": 800}),
    ],
)
def test_what_it_asks(monkeypatch: pytest.MonkeyPatch, options: list[str], more: dict[str, Any]) -> None:
    node = Node(DOCUMENT)
    code, output = run(monkeypatch, node, "https://h.example/index.m3u8", *options, "--json")
    assert (code, json.loads(output)) == (0, DOCUMENT)
    ((method, path, body),) = node.calls
    assert (method, path) == ("POST", "/probe")
    assert body["url"] == "https://h.example/index.m3u8"
    assert body.items() >= ({"media_type": 0} | more).items()
    assert body.get("stream_mode", None) == (0 if "transcode" in options else more.get("stream_mode"))
    assert None not in body.values(), "the node has its own defaults"


def test_what_people_read(monkeypatch: pytest.MonkeyPatch) -> None:
    code, output = run(monkeypatch, Node(DOCUMENT), "https://h.example/index.m3u8")
    assert code == 0
    assert [line.rstrip() for line in output.splitlines()] == [
        "address   https://h.example/index.m3u8",
        "guard     allowed: all servers have an address that may be connected to",
        "          h.example at 8.8.8.8: is public",
        "reached   received, status 200, 9000 bytes in 3 connections, after 1.5 s",
        "source    HLS of MPEG-TS, live, not seekable, 4628 kbit/s",
        "video     H.264 High, 1920x1080, turned by 90°, 25 pictures a second, 4500 kbit/s, "
        "a key frame every 2 s, no B-frames",
        "audio     AAC LC, 48000 Hz, 2 channels, 128 kbit/s, eng",
        "variants  > 5000 kbit/s, avc1: the best that can be played: H.264 first, then the highest bit rate",
        "            900 kbit/s, avc1: its bit rate is lower",
        "            and 3 more",
        "copy      video: copy to H.264, 1920x1080, 25 pictures a second, 4500 kbit/s "
        "(source is H.264 without B-frames)",
        "          audio: transcode to Opus, 48000 Hz, 2 channels, 128 kbit/s "
        "(rooms carry Opus, source is AAC)",
        "          costs 2.1 % of a core and 10 MB with one viewer",
        "note      a note [31m of a server",
    ]


def test_a_source_that_cannot_be_played(monkeypatch: pytest.MonkeyPatch) -> None:
    document = deepcopy(DOCUMENT)
    failure = {
        "culprit": "source",
        "reason": "source_refused",
        "message": "the server answers 404",
        "transient": True,
    }
    nothing = {"plan": None, "played": None, "cost": None, "failure": failure}
    document |= {"source": None, "failure": failure, "modes": {"copy": nothing}, "notes": []}
    document["reached"] |= {"step": "answered", "status": 404, "bytes": 0}
    document["guard"] = {"allowed": False, "why": "h: 10.0.0.1 is in 10.0.0.0/8", "hosts": []}
    code, output = run(monkeypatch, Node(document), "https://h.example/")
    assert code == 1
    assert [line.rstrip() for line in output.splitlines()] == [
        "address  https://h.example/index.m3u8",
        "guard    refused: h: 10.0.0.1 is in 10.0.0.0/8",
        "reached  answered, status 404, after 1.5 s",
        "copy     the server answers 404 (fault of the source: source_refused)",
        "failure  the server answers 404 (fault of the source: source_refused)",
    ]
