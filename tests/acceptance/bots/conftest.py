"""One node with TLS for all tests of bots, a bot on it, and songs that it plays."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.acceptance.bots.client import Bot, create_bot
from tests.acceptance.bots.tones import make_steps, make_tone, make_video
from tests.acceptance.bots.voices import Shelf, Voices, trusting
from tests.acceptance.node import serve_node
from tests.integration.certificates import write_certificate

#: Seconds of steps.* and of loop.*, and amplitudes that are 20 dB apart.
STEPS_S, LOOP_S = 12, 3
LOUD, QUIET = 0.5, 0.05


def make_files(folder: Path) -> None:
    folder.mkdir()
    make_steps(folder, "steps", STEPS_S, ("wav", "mp3", "m4a", "flac", "ogg", "m3u8"))
    make_steps(folder, "loop", LOOP_S, ("wav", "mp3", "m4a", "ogg"))
    make_video(folder, folder / "steps.wav", "steps.mp4")
    make_tone(folder, "loud", 20, LOUD)
    make_tone(folder, "quiet", 20, QUIET)
    (folder / "loop.m3u").write_text("#EXTM3U\n#EXTINF:3,x\nloop.mp3\nmissing.mp3\nloop.m4a\nloop.wav\n")
    (folder / "page.mp3").write_text("<!doctype html><title>not a song</title>" + "<p>nothing</p>" * 100)


@pytest.fixture(scope="package")
async def voices(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Voices]:
    folder = tmp_path_factory.mktemp("voices")
    data, files, certificate = folder / "data", folder / "files", folder / "cert.pem"
    write_certificate(folder)
    make_files(files)
    flags = ("--tls-cert", str(certificate), "--tls-key", str(folder / "key.pem"), "--listen", "localhost:0")
    with trusting(certificate) as tls:
        async with (
            Shelf(files).open() as shelf,
            serve_node(data, *flags) as node,
            aiohttp.ClientSession() as http,
        ):
            assert node.url.startswith("https://")
            bot = Bot(http, node.url, await create_bot(node, data), tls)
            yield Voices(node, data, bot, tls, http, shelf)
