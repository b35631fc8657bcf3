"""One node for all faults, on a small disk of its own where that can be mounted."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.acceptance.clips import make_flashes, run_ffmpeg
from tests.acceptance.faults.world import World
from tests.acceptance.sources import Ffmpeg
from tests.integration.cdn import cdn
from tests.integration.nginx import Nginx
from tests.integration.receiver import Receiver

_DISK_MB = 24


@pytest.fixture(scope="package")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder, and why it is no disk of its own; empty when it is."""
    folder = tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    yield folder, mounted.stderr.strip() if mounted.returncode else ""
    if not mounted.returncode:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="package")
async def world(
    anyio_backend: str, disk: tuple[Path, str], nginx: Nginx, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("faults")
    clip = make_flashes(nginx.www / "clip.mp4", 20)
    run_ffmpeg("-i", str(clip), "-vn", "-c:a", "libmp3lame", str(nginx.www / "song.mp3"))
    urls = {"file": nginx.http("clip.mp4"), "live": nginx.rtmp("faults"), "song": nginx.http("song.mp3")}
    live = Ffmpeg("-re", "-stream_loop", "-1", "-i", str(clip), "-c", "copy", "-f", "flv", urls["live"])
    async with live, cdn() as server, Receiver() as receiver, Receiver() as bots_receiver:
        world = World(disk[0] / "data", folder / "node.log", server, receiver, bots_receiver, urls)
        await world.serve()
        await world.begin()
        yield world
        await world.leave()
