"""Sources that cannot be played, all at once beside two that can: each ends with a reason that tells why, the
log has no stack trace, and no secret of an address is shown anywhere."""

import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from tests.acceptance.clips import Clips, run_ffmpeg
from tests.acceptance.node import ServedNode, serve_node
from tests.acceptance.sources import flv_server
from tests.acceptance.test_relay import new_room
from tests.integration.nginx import Nginx, free_port

pytestmark = [pytest.mark.anyio, pytest.mark.light]

_ENCRYPTED = (
    f"-encryption_scheme cenc-aes-ctr -encryption_key {'00' * 16} -encryption_kid {'11' * 16}".split()
)
_PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n{}#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"
_KEY = '#EXT-X-KEY:METHOD={},URI="{}"\n'
TEXTS = {
    "page": "<!doctype html><title>not a clip</title>",
    "noise": "neither a container nor a playlist " * 100,
    "recorded.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-ENDLIST\n",
    "live.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n",
    "no-key.m3u8": _PLAYLIST.format(_KEY.format("AES-128", "no.key?token=KeyToken"), "short.ts"),
    "sample-aes.m3u8": _PLAYLIST.format(_KEY.format("SAMPLE-AES", "no.key"), "short.ts"),
    "gone.m3u8": _PLAYLIST.format("", "gone.ts?sign=SegmentSign"),
    "file.m3u8": _PLAYLIST.format("", "file:///etc/hostname"),
}
#: What no document, log line or command line may show.
SECRETS = ("PassWord", "QueryToken", "KeyToken", "SegmentSign", "LocationSign", "OtherWord", "StreamKey")


@pytest.fixture(scope="module")
async def host(anyio_backend: str, clips: Clips) -> AsyncIterator[str]:
    """Host and port of a server of the clips, of bad sources, and of redirects without an end."""
    run_ffmpeg("-i", str(clips.short), "-c", "copy", *_ENCRYPTED, str(clips.folder / "drm.mp4"))
    for name, text in TEXTS.items():
        (clips.folder / name).write_text(text)
    (clips.folder / "bad").mkdir(exist_ok=True)
    (clips.folder / "bad" / "cut.mp4").write_bytes(clips.short.read_bytes()[:500])

    async def endless(request: web.Request) -> web.Response:
        raise web.HTTPFound("/endless")

    async def elsewhere(request: web.Request) -> web.Response:
        raise web.HTTPFound(f"http://other:OtherWord@{request.host}/gone?sign=LocationSign")

    app = web.Application()
    app.router.add_get("/endless", endless)
    app.router.add_get("/elsewhere", elsewhere)
    app.router.add_static("/", clips.folder)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@dataclass(frozen=True)
class Bad:
    """An address, what is asked of it, and how the task ends: its reason and words of what it says."""

    url: str
    reason: str
    words: str
    control: dict[str, int] = field(default_factory=dict)


BAD = [
    Bad("http://{host}/page", "source_unsupported", "HTML"),
    Bad("http://{host}/noise", "source_unsupported", "text, which is no media"),
    Bad("http://{host}/hevc.mp4", "source_unsupported", "HEVC"),
    Bad("http://{host}/bad/cut.mp4", "source_unsupported", "the file is cut short"),
    Bad("http://{host}/recorded.m3u8", "source_unsupported", "no segments"),
    Bad("http://{host}/live.m3u8", "idle_timeout", "no segments yet"),
    Bad("http://{host}/no-key.m3u8", "source_refused", "404 Not Found to http://{host}/no.key"),
    Bad("http://{host}/sample-aes.m3u8", "source_unsupported", "encrypted (SAMPLE-AES"),
    Bad("http://{host}/drm.mp4", "source_unsupported", "encrypted (DRM)"),
    Bad("http://{host}/short.mp3", "source_unsupported", "only video was asked for", {"MediaType": 2}),
    Bad("http://{host}/silent.mp4", "source_unsupported", "only audio was asked for", {"MediaType": 1}),
    Bad("http://{host}/endless", "source_refused", "redirects in a circle"),
    Bad("http://{host}/elsewhere", "source_refused", "404 Not Found to http://***@{host}/gone"),
    Bad("http://{host}/gone.m3u8", "source_refused", "404 Not Found to http://{host}/gone.ts"),
    Bad("http://{host}/file.m3u8", "source_unsupported", "file:///etc/hostname"),
    Bad("http://{secrets}@{host}/gone?{query}", "source_refused", "to http://***@{host}/gone"),
    Bad("http://{secrets}@{host}/page?{query}", "source_unsupported", "HTML"),
    Bad("http://{secrets}@10.0.0.1/x?{query}", "address_not_allowed", "10.0.0.1 has no public address"),
    Bad("http://{secrets}@{closed}/x?{query}", "source_unreachable", "{closed} cannot be reached"),
    Bad("https://{secrets}@host.invalid/x?{query}", "source_unreachable", "host.invalid cannot be resolved"),
    Bad("rtmp://{secrets}@{rtmp}/strict/StreamKey?{query}", "source_refused", "no such stream"),
    Bad("rtmp://{secrets}@{closed}/live/StreamKey?{query}", "source_unreachable", "cannot be reached"),
]


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def test_bad_sources_say_what_is_wrong_with_them_and_leave_others_alone(
    tmp_path: Path, host: str, nginx: Nginx, clips: Clips
) -> None:
    """On a node of its own, so that its log is known from the beginning to the end."""
    words = {"host": host, "closed": f"127.0.0.1:{closed_port()}", "rtmp": f"127.0.0.1:{nginx.rtmp_port}"}
    words |= {"secrets": "user:PassWord", "query": "token=QueryToken"}
    port, path = free_port(), tmp_path / "log"
    with path.open("wb") as errors:
        async with (
            flv_server(clips.marked, port),
            serve_node(tmp_path / "data", "--log-level", "debug", errors=errors) as node,
        ):
            urls = [f"http://127.0.0.1:{port}/live.flv", "http://{secrets}@{host}/long.mp4?{query}"]
            good = [await node.start(new_room(), url.format(**words)) for url in urls]
            shown = await play_bad(node, words, good)
            for run in good:
                await node.client_stop(run)
                await node.until_state(run, "ended")
    log = path.read_text()
    assert len(log.splitlines()) > 2 * len(BAD)
    assert [secret for secret in SECRETS if secret in shown + log] == []
    assert "Traceback" not in log
    assert '"level": "error"' not in log


async def play_bad(node: ServedNode, words: dict[str, str], good: list[str]) -> str:
    """Plays them to their ends, while the good ones go on; all that was shown of them meanwhile."""
    before = [await node.until_state(run, "running") for run in good]
    children = node.process.children()
    runs = [await node.start(new_room(), bad.url.format(**words), max_idle=5, **bad.control) for bad in BAD]
    first = [await node.until(run, lambda document: document["reason_text"] != "") for run in runs]
    last = [await node.until(run, lambda document: document["ended_at"] is not None) for run in runs]
    assert any(document["state"] == "starting" for document in first), "they tell while they still try"
    for bad, ended in zip(BAD, last, strict=True):
        assert ended["reason"] == bad.reason, bad.url
        assert bad.words.format(**words) in ended["reason_text"], bad.url
    after = [await node.task(run) for run in good]
    for then, now in zip(before, after, strict=True):
        assert now["state"] == "running"
        assert now["stats"]["audio_packets"] > then["stats"]["audio_packets"]
    assert set(children) <= set(node.process.children()), "one in reserve may have come"
    return json.dumps([*first, *last, *after]) + str([child.cmdline() for child in children])
