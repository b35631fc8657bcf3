"""A radio that a bot plays for a long time, with a station that falls silent twice.

The station sends each frame when it is due and none again, as real ones do: what falls into a pause is lost,
and who calls gets the last seconds at once. So its clock tells how old what is heard is.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import av
import pytest

from tests.acceptance.bots.client import new_channel
from tests.acceptance.bots.conftest import STEPS_S
from tests.acceptance.bots.listeners import Listener, listening
from tests.acceptance.bots.voices import Voices
from tests.acceptance.sources import Radio

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

#: Of the whole; one is enough for a look by hand: SLUICE_RADIO_MINUTES=1 scripts/test -m slow -k radio
MINUTES = float(os.environ.get("SLUICE_RADIO_MINUTES", "10"))
#: The first pause is borne; in the second nothing comes for so long that the station is called again.
PAUSES_S = (6.0, 16.0)
_FRAME_S = 1152 / 44_100  #: of MP3 at 44.1 kHz
_BURST_S = 2.0
#: What a listener may be behind the station: its burst, and what bears the unevenness of a live source.
LATE_S = 5.0
LATER_S = 1.0  #: than at first, after the pauses


class Station:
    """Plays a file of MP3 again and again by one clock. It is silent while `sounding` is not set."""

    def __init__(self, song: Path) -> None:
        with av.open(str(song)) as container:
            stream = container.streams.audio[0]
            self._frames = [bytes(packet) for packet in container.demux(stream) if packet.size]
        self._begun_at = time.monotonic()
        self.url = ""
        self.calls = 0
        self.sounding = asyncio.Event()
        self.sounding.set()

    def position_s(self, at: float) -> float:
        """Where in the song it was then."""
        return (at - self._begun_at) % (len(self._frames) * _FRAME_S)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.calls += 1
        frame = self._due() - round(_BURST_S / _FRAME_S)
        try:
            writer.write(Radio.HEAD)
            while not reader.at_eof():
                if not self.sounding.is_set():
                    await self.sounding.wait()
                    frame = self._due()
                due = self._due()
                writer.writelines(self._frames[n % len(self._frames)] for n in range(frame, due))
                frame = due
                await writer.drain()
                await asyncio.sleep(_FRAME_S)
        except ConnectionError:
            pass  # who listened has gone
        finally:
            writer.close()

    def _due(self) -> int:
        return int((time.monotonic() - self._begun_at) / _FRAME_S)


@asynccontextmanager
async def on_air(song: Path) -> AsyncIterator[Station]:
    station = Station(song)
    async with await asyncio.start_server(station.serve, "127.0.0.1", 0) as server:
        station.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/;"
        yield station


async def behind_s(station: Station, listener: Listener) -> float:
    """How old the next seconds of sound are when they come."""
    begin = len(listener.packets)
    await listener.until_seconds(3)
    heard = listener.heard(begin)
    position_s = heard.positions()[0]
    late_s = (station.position_s(listener.packets[begin].at) - position_s) % STEPS_S
    print(f"{late_s:.2f} s behind the station, tones {heard.order}")
    return late_s


@pytest.mark.timeout(60 * MINUTES + 120)
async def test_a_radio_plays_on_through_two_pauses(voices: Voices) -> None:
    node, channel = voices.node, new_channel()
    children = node.process.children()
    async with on_air(voices.shelf.folder / "steps.mp3") as station:
        end = time.monotonic() + 60 * MINUTES
        task_id = await voices.bot.push(channel, station.url)
        run = await voices.run_of(task_id)
        user = (await voices.task(task_id))["user_id"]
        async with listening(node, channel, user, voices.tls) as listener:
            await node.until_state(run, "running")
            first_s = await behind_s(station, listener)
            assert first_s <= LATE_S
            for pause_s in PAUSES_S:
                await listener.until_seconds((end - time.monotonic()) / 4, deadline_s=60 * MINUTES)
                await fall_silent(voices, run, station, pause_s)
                assert await behind_s(station, listener) <= first_s + LATER_S
            while time.monotonic() < end:
                await listener.until_seconds(1)
            assert await behind_s(station, listener) <= first_s + LATER_S
            assert listener.holes() == 0
        document = await node.task(run)
        assert (document["state"], document["stats"]["restarts"]) == ("running", 0)
        assert (await voices.bot.stop(task_id)).document["status"] == "ok"
    assert station.calls == 2, "it is called again when nothing comes for 10 s, and not before"
    assert node.process.children() == children


async def fall_silent(voices: Voices, run: str, station: Station, pause_s: float) -> None:
    """A pause as the native document tells of it."""
    station.sounding.clear()
    over = time.monotonic() + pause_s
    document = await voices.node.until_state(run, "recovering")
    assert document["reason_text"], "it says why"
    print(document["reason_text"])
    while time.monotonic() < over:
        assert (await voices.node.task(run))["state"] == "recovering"
        await asyncio.sleep(0.5)
    station.sounding.set()
    await voices.node.until_state(run, "running")
