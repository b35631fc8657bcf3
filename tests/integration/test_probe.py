"""Probes of real sources: what they are, what would be played, what is told of those that do not answer."""

import asyncio
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from sluice.core.addresses import AddressPolicy
from sluice.core.limits import MOST_PROBES
from sluice.media import probe as module
from sluice.media.context import MediaContext
from sluice.media.frame_link import FrameLinks
from sluice.media.pacer import Pacer
from sluice.media.probe import Probes
from sluice.media.threads import Threads
from sluice.net.dial import Dialer
from sluice.process.control import Message, Probed, ProbeJob, Refused
from tests.acceptance.sources import Ffmpeg, radio
from tests.hostile.bombs import changed, samples
from tests.hostile.sources import HOSTILE, answer_nothing, respond
from tests.hostile.strangers import listening, stranger
from tests.integration.nginx import Nginx, free_port
from tests.integration.waiting import until

pytestmark = pytest.mark.anyio

_BOTH = (0, 1)
_VIDEO = ["-f", "lavfi", "-i", "testsrc=size=320x240:rate=25"]
_AUDIO = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100"]
_X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "25", "-pix_fmt", "yuv420p"]
_ENGLISH = ["-metadata:s:a:0", "language=eng"]
_COPY = ["-c", "copy"]
_FLV = ["-f", "flv", "-listen", "1"]
_LIVE = ["-f", "hls", "-hls_time", "1", "-hls_list_size", "6"]
_HLS = ["-f", "hls", "-hls_time", "1", "-hls_list_size", "0", "-hls_playlist_type", "vod"]
#: Name, and the way from the base clip of 3 s.
_FILES = {
    "clip.mp4": ["-c", "copy", *_ENGLISH, "-movflags", "+faststart"],
    "clip.flv": ["-c", "copy"],
    "clip.ts": ["-c", "copy", *_ENGLISH],
    "clip.mkv": ["-c", "copy", *_ENGLISH],
    "clip.mp3": ["-vn", "-c:a", "libmp3lame", "-b:a", "128k"],
    "clip.ogg": ["-vn", "-c:a", "libopus"],
    "hevc.mp4": ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none", "-an"],
    "b.mp4": ["-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-c:a", "copy"],
    "turned.mp4": ["-c", "copy", "-metadata:s:v", "rotate=90"],
    "low.m3u8": ["-vf", "scale=160:120", *_X264, "-b:v", "60k", "-c:a", "copy", *_HLS],
    "best.m3u8": ["-c", "copy", *_HLS],
    "vod.mpd": ["-c", "copy", "-f", "dash", "-seg_duration", "1"],
}
_MASTER = """#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=100000,RESOLUTION=160x120,FRAME-RATE=25.000,CODECS="avc1.42c00b,mp4a.40.2"
low.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=320x240,CODECS="hvc1.1.6.L60.90,mp4a.40.2"
none.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=800000,RESOLUTION=320x240,CODECS="avc1.42c00d,mp4a.40.2"
none.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=500000,RESOLUTION=320x240,CODECS="avc1.42c00d,mp4a.40.2"
best.m3u8
"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with Nginx(tmp_path_factory.mktemp("nginx")) as server:
        base = server.folder / "base.mp4"
        _ffmpeg(*_VIDEO, *_AUDIO, "-t", "3", *_X264, "-c:a", "aac", "-ac", "2", base)
        for name, way in _FILES.items():
            _ffmpeg("-i", base, *way, server.www / name)
        (server.www / "master.m3u8").write_text(_MASTER)
        (server.www / "list.m3u").write_text("clip.mp3\nclip.ogg\n")
        yield server


def _ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments], check=True, timeout=60)


class Prober:
    """Probes as a media process makes them."""

    def __init__(self, allow: tuple[str, ...] = ("127.0.0.0/8",)) -> None:
        self.threads = Threads(16, "opening", idle_s=0.1)
        self.given_back = 0
        nobody = cast(Executor, None)  # what plays has threads of its own
        context = MediaContext(
            Dialer(AddressPolicy(allow)), FrameLinks(), Pacer(), nobody, self.threads, lambda _: None
        )
        self.probes = Probes(context, self._give_back)

    def _give_back(self) -> None:
        self.given_back += 1

    async def ask(self, url: str, **more: Any) -> Message:
        modes = {"media_type": 0, "stream_modes": _BOTH}
        return await self.probes.answer(ProbeJob.model_validate({"url": url, **modes, **more}))

    async def __call__(self, url: str, **more: Any) -> dict[str, Any]:
        answer = await self.ask(url, **more)
        assert isinstance(answer, Probed), answer
        return answer.document


@pytest.fixture
async def prober(anyio_backend: str) -> Prober:
    return Prober()


def actions(document: dict[str, Any], mode: str) -> list[str]:
    plan = document["modes"][mode]["plan"]
    return [plan[kind]["action"] for kind in ("video", "audio")]


# --- what sources are ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "container"),
    [("clip.mp4", "MP4"), ("clip.flv", "FLV"), ("clip.ts", "MPEG-TS"), ("clip.mkv", "Matroska")],
)
async def test_a_file(prober: Prober, nginx: Nginx, name: str, container: str) -> None:
    document = await prober(nginx.http(name) + "?token=SecretToken")
    facts = document["source"]
    assert (facts["container"], facts["live"], facts["seekable"]) == (container, False, True)
    assert facts["duration_s"] == pytest.approx(3, abs=0.2)
    size = (nginx.www / name).stat().st_size
    assert facts["bitrate_kbps"] == pytest.approx(size * 8 / facts["duration_s"] / 1000, abs=1)
    video, audio = facts["video"], facts["audio"]
    assert (video["codec"], video["profile"], video["width"], video["height"]) == (
        "h264",
        "Constrained Baseline",
        320,
        240,
    )
    assert video["frame_rate"] == pytest.approx(25, rel=0.02)
    assert (video["gop_s"], video["b_frames"], video["rotation"]) == (pytest.approx(1, abs=0.01), False, 0)
    assert 0 < video["bitrate_kbps"] < facts["bitrate_kbps"]
    assert (audio["codec"], audio["sample_rate"], audio["channels"]) == ("aac", 44100, 2)
    assert audio["language"] == (None if name == "clip.flv" else "eng")
    assert actions(document, "copy") == ["copy", "transcode"]
    assert actions(document, "transcode") == ["transcode", "transcode"]
    assert document["failure"] is None
    assert document["guard"]["allowed"]
    assert document["guard"]["hosts"][0]["addresses"][0]["address"] == "127.0.0.1"
    assert (document["reached"]["step"], document["reached"]["status"]) == ("received", 206)
    assert "SecretToken" not in str(document)


async def test_what_viewers_would_get(prober: Prober, nginx: Nginx) -> None:
    document = await prober(nginx.http("clip.mp4"), width=160, height=90, frame_rate=10, bitrate_kbps=300)
    video = document["modes"]["transcode"]["played"]["video"]
    assert video == {"codec": "h264", "width": 160, "height": 90, "frame_rate": 10.0, "bitrate_kbps": 300}
    copied = document["modes"]["copy"]["played"]["video"]
    assert (copied["width"], copied["height"], copied["frame_rate"]) == (320, 240, 25.0)
    turned = await prober(nginx.http("turned.mp4"))
    assert turned["source"]["video"]["rotation"] in (90, 270)
    upright = turned["modes"]["transcode"]["played"]["video"]
    assert (upright["width"], upright["height"]) == (240, 320)


async def test_sound_alone(prober: Prober, nginx: Nginx) -> None:
    document = await prober(nginx.http("clip.mp3"), stream_modes=(1,))
    facts = document["source"]
    assert (facts["container"], facts["video"], facts["audio"]["codec"]) == ("MP3", None, "mp3")
    assert facts["audio"]["bitrate_kbps"] == pytest.approx(128, rel=0.05)
    assert list(document["modes"]) == ["copy"]
    assert actions(document, "copy") == ["none", "transcode"]
    listed = await prober(nginx.http("list.m3u"))
    assert (listed["source"]["container"], listed["source"]["entries"]) == ("MP3", 2)
    opus = await prober(nginx.http("clip.ogg"))
    assert actions(opus, "copy") == ["none", "copy"]


async def test_the_media_type_that_is_asked_for(prober: Prober, nginx: Nginx) -> None:
    document = await prober(nginx.http("clip.mp4"), media_type=1)
    assert actions(document, "copy") == ["none", "transcode"]
    assert document["source"]["video"] is None, "other tracks are not looked at"
    document = await prober(nginx.http("clip.mp3"), media_type=2)
    assert "only video was asked for, but the source has none" in document["failure"]["message"]


async def test_what_cannot_be_copied(prober: Prober, nginx: Nginx) -> None:
    document = await prober(nginx.http("hevc.mp4"))
    assert document["failure"] is None
    assert "only H.264 can be copied" in document["modes"]["copy"]["failure"]["message"]
    assert actions(document, "transcode") == ["transcode", "none"]
    document = await prober(nginx.http("b.mp4"))
    assert document["source"]["video"]["b_frames"]
    assert actions(document, "copy") == ["transcode", "transcode"]
    assert "B-frames" in document["modes"]["copy"]["plan"]["video"]["why"]


async def test_the_variants_of_an_hls_master(prober: Prober, nginx: Nginx) -> None:
    document = await prober(nginx.http("master.m3u8"))
    facts = document["source"]
    assert (facts["container"], facts["segments"], facts["live"]) == ("HLS", "MPEG-TS", False)
    assert (facts["video"]["width"], facts["duration_s"]) == (320, pytest.approx(3, abs=0.2))
    variants = {variant["bandwidth_kbps"]: variant for variant in facts["variants"]}
    assert [rate for rate, variant in variants.items() if variant["chosen"]] == [500]
    assert "404 Not Found" in variants[800]["why"]
    assert variants[900]["why"].startswith("it is not H.264")
    assert variants[100]["why"] == "its bit rate is lower"
    assert (variants[100]["width"], variants[100]["frame_rate"]) == (160, 25.0)
    assert variants[100]["codecs"] == ["avc1.42c00b", "mp4a.40.2"]
    assert any("another variant" in note for note in document["notes"])


async def test_the_representations_of_a_dash_manifest(prober: Prober, nginx: Nginx) -> None:
    facts = (await prober(nginx.http("vod.mpd")))["source"]
    assert (facts["container"], facts["segments"]) == ("MPEG-DASH", "MP4")
    video, audio = facts["variants"]
    assert (video["kind"], video["width"], video["frame_rate"], video["chosen"]) == ("video", 320, 25.0, True)
    assert (audio["kind"], audio["chosen"]) == ("audio", True)


async def test_rtmp(prober: Prober, nginx: Nginx) -> None:
    url = nginx.rtmp("StreamKey")
    publisher = await asyncio.create_subprocess_exec(
        *("ffmpeg", "-nostdin", "-v", "fatal", "-re", "-stream_loop", "-1"),
        *("-i", str(nginx.folder / "base.mp4"), "-c", "copy", "-f", "flv", url),
    )
    try:
        document = await prober(url)
    finally:
        publisher.kill()
        await publisher.wait()
    facts = document["source"]
    assert (facts["container"], facts["live"], facts["seekable"]) == ("RTMP", True, False)
    assert facts["video"]["frame_rate"] == pytest.approx(25, rel=0.1)
    assert (facts["video"]["gop_s"], facts["audio"]["codec"]) == (pytest.approx(1, abs=0.1), "aac")
    assert actions(document, "copy") == ["copy", "transcode"]
    assert "StreamKey" not in str(document)


async def test_live_sources_over_http(prober: Prober, nginx: Nginx) -> None:
    base, port = nginx.folder / "base.mp4", free_port()
    async with (
        radio(base) as station,
        Ffmpeg(
            "-re", "-stream_loop", "-1", "-i", str(base), *_COPY, *_FLV, f"http://127.0.0.1:{port}/live.flv"
        ),
        Ffmpeg("-re", "-stream_loop", "-1", "-i", str(base), *_COPY, *_LIVE, str(nginx.www / "live.m3u8")),
    ):
        await until((nginx.www / "live2.ts").exists)
        sound, flv, hls = await asyncio.gather(
            prober(station.url), prober(f"http://127.0.0.1:{port}/live.flv"), prober(nginx.http("live.m3u8"))
        )
    for document, container in ((sound, "MP3"), (flv, "FLV"), (hls, "HLS")):
        facts = document["source"]
        assert (facts["container"], facts["live"], facts["seekable"]) == (container, True, False), document
        assert (facts["duration_s"], document["failure"]) == (None, None)
    assert sound["source"]["video"] is None
    for document in (flv, hls):
        video = document["source"]["video"]
        assert (video["gop_s"], video["frame_rate"]) == (
            pytest.approx(1, abs=0.1),
            pytest.approx(25, rel=0.1),
        )
        assert actions(document, "copy") == ["copy", "transcode"]


async def test_a_container_of_many_tracks(prober: Prober, nginx: Nginx) -> None:
    base = nginx.folder / "base.mp4"
    _ffmpeg("-i", base, *("-map", "0:v"), *("-map", "0:a") * 19, "-c", "copy", nginx.www / "many.mkv")
    document = await prober(nginx.http("many.mkv"))
    assert document["notes"] == ["18 further sound tracks are left out"]
    assert actions(document, "copy") == ["copy", "transcode"]


async def test_sound_that_has_playlists_of_its_own(prober: Prober, nginx: Nginx) -> None:
    sounds = "".join(
        f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="{name}",LANGUAGE="{name}",URI="{uri}"{more}\n'
        for name, uri, more in (("de", "gone.m3u8", ""), ("en", "sound.m3u8", ",DEFAULT=YES"))
    )
    _ffmpeg("-i", nginx.folder / "base.mp4", "-c", "copy", "-vn", *_HLS, nginx.www / "sound.m3u8")
    _ffmpeg("-i", nginx.folder / "base.mp4", "-c", "copy", "-an", *_HLS, nginx.www / "silent.m3u8")
    text = '#EXTM3U\n{}#EXT-X-STREAM-INF:BANDWIDTH=500000,AUDIO="a"\nsilent.m3u8\n'
    (nginx.www / "sounds.m3u8").write_text(text.format(sounds))
    (nginx.www / "mute.m3u8").write_text(text.format(sounds.replace("sound.m3u8", "none.m3u8")))
    _, german, english = (await prober(nginx.http("sounds.m3u8")))["source"]["variants"]
    assert [(one["kind"], one["language"], one["chosen"]) for one in (german, english)] == [
        ("audio", "de", False),
        ("audio", "en", True),
    ]
    document = await prober(nginx.http("mute.m3u8"))
    assert [one["chosen"] for one in document["source"]["variants"]] == [True, False, False]
    assert document["source"]["audio"] is None
    assert any("the sound is left out" in note for note in document["notes"])


async def test_what_is_known_when_the_time_is_over(
    prober: Prober, nginx: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Playlists come, and their segments do not."""
    monkeypatch.setattr(module, "LONGEST_PROBE_S", 1.0)
    files = {path: (nginx.www / path).read_bytes() for path in ("master.m3u8", "best.m3u8", "vod.mpd")}

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        body = files.get(request.split()[1].decode().lstrip("/"))
        if body is not None:
            await respond(writer, body)

    async with stranger(answer) as server:
        hls, dash = await asyncio.gather(prober(server.url("/master.m3u8")), prober(server.url("/vod.mpd")))
    assert (hls["source"]["container"], hls["source"]["video"]) == ("HLS", None)
    assert {variant["why"] for variant in hls["source"]["variants"]} == {"it was not tried yet"}
    assert (dash["source"]["container"], dash["source"]["live"]) == ("MPEG-DASH", None)
    assert [variant["kind"] for variant in dash["source"]["variants"]] == ["video", "audio"]
    for document in (hls, dash):
        assert document["failure"]["reason"] == "source_unreachable"
        assert document["modes"]["copy"] == {"plan": None, "played": None, "failure": None}


# --- the guard, and sources that do not answer --------------------------------------------------------------


async def test_an_address_that_is_not_allowed(nginx: Nginx) -> None:
    document = await Prober(allow=())(nginx.http("clip.mp4"))
    assert document["guard"]["allowed"] is False
    assert document["guard"]["why"] == (
        "127.0.0.1: 127.0.0.1 is in 127.0.0.0/8, which is not public; --allow-networks can open its network"
    )
    assert document["failure"]["reason"] == "address_not_allowed"
    assert (document["source"], document["reached"]["step"]) == (None, "nothing")
    assert document["modes"]["copy"] == {"plan": None, "played": None, "failure": None}


async def test_a_server_that_is_not_there(prober: Prober) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    document = await prober(f"http://user:PassWord@127.0.0.1:{port}/x?token=SecretToken")
    assert document["failure"]["reason"] == "source_unreachable"
    assert (document["failure"]["culprit"], document["failure"]["transient"]) == ("source", True)
    assert document["reached"]["step"] == "resolved"
    assert not any(secret in str(document) for secret in ("PassWord", "SecretToken"))


async def test_a_page_and_a_refusal(prober: Prober, nginx: Nginx) -> None:
    (nginx.www / "page.html").write_text("<!doctype html><title>no clip</title>")
    document = await prober(nginx.http("page.html"))
    assert "HTML" in document["failure"]["message"]
    document = await prober(nginx.http("gone.mp4"))
    assert (document["failure"]["reason"], document["reached"]["status"]) == ("source_refused", 404)


_GRACE_S = 10.0


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """Takes connections, and says nothing: TLS and RTMP hang in their handshakes."""

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with listening(hang) as port:
        yield port


async def test_strangers_end_in_time_with_a_text_and_give_all_back(
    prober: Prober, nginx: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_PROBE_S", 1.5)
    monkeypatch.setattr(module, "MOST_PROBES", 50)
    await prober(nginx.http("clip.mp4"))  # what is loaded once is loaded
    await until(lambda: prober.threads.count == 0)
    before, threads = psutil.Process().num_fds(), threading.active_count()

    async def probe(kind: str) -> tuple[str, dict[str, Any]]:
        path, script = HOSTILE[kind]
        async with stranger(script) as server:
            document = await prober(server.url(path))
            await until(lambda: len(server.ended_s) == len(server.asked))
            return kind, document

    async def silent(scheme: str) -> tuple[str, dict[str, Any]]:
        async with silent_server() as port:
            return scheme, await prober(f"{scheme}://127.0.0.1:{port}/live/key")

    begun = time.monotonic()
    work = [probe(kind) for kind in HOSTILE] + [silent(scheme) for scheme in ("https", "rtmp", "rtmps")]
    told = dict(await asyncio.gather(*work))
    assert time.monotonic() - begun < 1.5 + _GRACE_S
    for kind, document in told.items():
        failure = document["failure"]
        if kind == "endless sound":
            assert document["source"]["container"] == "MP3", document
            continue
        assert failure is not None, (kind, document)
        assert failure["culprit"] == "source", kind
        assert failure["reason"] not in ("internal_error", "media_crash"), kind
    late = {kind: told[kind]["failure"]["message"] for kind in ("no answer", "a body that drips", "https")}
    assert late["no answer"].endswith("it was connected to, and its answer was not complete")
    assert late["a body that drips"].endswith(" bytes came")
    assert late["https"].endswith("was resolved, and the connection was not complete")
    await until(lambda: prober.threads.count == 0)
    await until(lambda: threading.active_count() <= threads)
    assert psutil.Process().num_fds() <= before + 2
    assert prober.given_back == len(told) + 1


async def test_a_file_that_claims_much(prober: Prober, nginx: Nginx) -> None:
    clip = (nginx.www / "clip.mp4").read_bytes()
    (nginx.www / "claims.mp4").write_bytes(changed(clip, samples(0x7FFFFFFF)))
    document = await prober(nginx.http("claims.mp4"))
    assert document["failure"]["reason"] == "source_unsupported"


async def test_only_a_few_at_once(prober: Prober, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_PROBE_S", 0.5)
    async with stranger(answer_nothing) as server:
        probes = [asyncio.create_task(prober.ask(server.url())) for _ in range(MOST_PROBES + 1)]
        answers: list[Message] = [await each for each in probes]
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        assert [answer.busy for answer in refused] == [True]
        await until(lambda: prober.given_back == MOST_PROBES)
        assert isinstance(await prober.ask(server.url()), Probed)


async def test_memory_that_is_not_there(
    prober: Prober, nginx: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(module, "source_for", fail)
    document = await prober(nginx.http("clip.mp4"))
    assert document["failure"]["message"] == "the source needs more memory than a media process may have"
