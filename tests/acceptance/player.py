"""aiortc as a player of a marked clip: what its packets, pictures and sound say, on the sender's clock.

A player that keeps lips and voices together maps the RTP timestamps of each track through that track's
sender reports (RFC 3550 6.4.1); so does this one. Timestamps are extended here: they never wrap.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from aiortc import RTCPeerConnection
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtp import RtcpSrPacket
from numpy.typing import NDArray

from tests.acceptance.clips import FRAME_RATE, read_mark
from tests.acceptance.viewers import negotiate

RATES = {"video": 90_000, "audio": 48_000}
_POLL_S = 0.05
_NTP_FRACTION = 1 << 32
#: Half of what a beep has, and several times what the tone under it has.
_BEEP = 0.35
_BEEPS_APART_S = 0.3
_EDGE_S = 0.3
_SOUND_S = 0.02  #: of one packet
#: The tone under the beeps has an RMS of 0.07.
_SILENT = 0.02
_WINDOW_S = 0.005

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Arrived:
    """One RTP packet; `at` in seconds of our own monotonic clock."""

    at: float
    ssrc: int
    sequence: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class Picture:
    timestamp: int
    number: int  #: the clip's count of it
    flash: bool


class Player:
    """Keeps all that it gets; `states` are those of ICE, in order."""

    def __init__(self) -> None:
        self.peer = RTCPeerConnection()
        self.states: list[str] = []
        self.packets: dict[str, list[Arrived]] = {"video": [], "audio": []}
        self.pictures: list[Picture] = []
        self.planes: list[NDArray[np.uint8]] = []  #: the newest pictures' luma
        self._sound: list[tuple[int, Samples]] = []
        self._reports: dict[str, list[tuple[float, int]]] = defaultdict(list)
        self._tracks: set[asyncio.Task[None]] = set()

    async def watch(self, url: str, token: str) -> None:
        @self.peer.on("iceconnectionstatechange")
        def on_state() -> None:
            self.states.append(self.peer.iceConnectionState)

        @self.peer.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            self._tracks.add(asyncio.ensure_future(self._play(track)))

        for kind in ("audio", "video"):
            self._listen(kind, self.peer.addTransceiver(kind, direction="recvonly").receiver)
        await negotiate(self.peer, url, token)

    async def until(self, wanted: Callable[[], bool], deadline_s: float = 60) -> None:
        async with asyncio.timeout(deadline_s):
            while not wanted():
                await asyncio.sleep(_POLL_S)

    async def until_pictures(self, count: int, deadline_s: float = 60) -> None:
        """Until so many pictures were decoded."""
        await self.until(lambda: len(self.pictures) >= count, deadline_s)

    def forget(self) -> None:
        """What it saw and heard so far."""
        self.pictures.clear()
        self._sound.clear()

    async def close(self) -> None:
        for track in self._tracks:
            track.cancel()
        await self.peer.close()

    # --- what it heard and saw ----------------------------------------------------------------------------

    def ssrcs(self) -> list[set[int]]:
        return [{packet.ssrc for packet in self.packets[kind]} for kind in RATES]

    def flashes(self) -> list[float]:
        """When each flash began, in seconds of the sender's clock."""
        return [
            self._seconds("video", picture.timestamp)
            for before, picture in pairwise(self.pictures)
            if picture.flash and not before.flash
        ]

    def beeps(self) -> list[float]:
        """The same of the beeps."""
        if not self._reports["audio"]:
            return []  # a player knows no time yet
        found: list[float] = []
        end = -_BEEPS_APART_S
        for timestamp, samples in self._sound:
            loud = np.flatnonzero(np.abs(samples) > _BEEP)
            if len(loud):
                at = self._seconds("audio", timestamp + int(loud[0]))
                if at > end + _BEEPS_APART_S:
                    found.append(at)
                end = self._seconds("audio", timestamp + int(loud[-1]))
        return found

    def offsets(self) -> list[float]:
        """How much later (s) each beep is heard than its flash is seen. Left out is what lies next to a break
        or to the end of what came, where the other half may be missing."""
        beeps, edges = self.beeps(), self._edges()
        return [
            min((beep - flash for beep in beeps), key=abs)
            for flash in self.flashes()
            if all(abs(flash - edge) > _EDGE_S for edge in edges)
        ]

    def _edges(self) -> list[float]:
        """When the pictures or the sound began, ended or did not go on evenly."""
        video = [self._seconds("video", picture.timestamp) for picture in self.pictures]
        audio = [self._seconds("audio", timestamp) for timestamp, _ in self._sound]
        edges = [video[0], video[-1], audio[0], audio[-1]]
        for times, step in ((video, 1 / FRAME_RATE), (audio, _SOUND_S)):
            for a, b in pairwise(times):
                if not 0.5 * step < b - a < 2.5 * step:
                    edges += [a, b]
        return edges

    def longest_silence_s(self, after_s: float) -> float:
        """Of the sound that came, but for its first seconds, joined as it was sent."""
        sound = np.concatenate([samples for _, samples in self._sound])[int(after_s * RATES["audio"]) :]
        size = int(_WINDOW_S * RATES["audio"])
        windows = sound[: len(sound) // size * size].reshape(-1, size)
        longest = run = 0
        for level in np.sqrt((windows**2).mean(axis=1)):
            run = run + 1 if level < _SILENT else 0
            longest = max(longest, run)
        return longest * _WINDOW_S

    def _seconds(self, kind: str, timestamp: int) -> float:
        """By the newest sender report before, as a player knows no other."""
        reports = self._reports[kind]
        ntp, at = next((r for r in reversed(reports) if r[1] <= timestamp), reports[0])
        return ntp + (timestamp - at) / RATES[kind]

    # --- taking in ----------------------------------------------------------------------------------------

    def _listen(self, kind: str, receiver: Any) -> None:
        """aiortc tells nobody what arrives: its two ways in are led past us."""
        handle_rtp, handle_rtcp = receiver._handle_rtp_packet, receiver._handle_rtcp_packet
        packets = self.packets[kind]

        async def on_rtp(packet: Any, arrival_time_ms: int) -> None:
            last = packets[-1] if packets else None
            timestamp = _extended(last.timestamp if last else None, packet.timestamp, 32)
            sequence = _extended(last.sequence if last else None, packet.sequence_number, 16)
            packets.append(Arrived(time.monotonic(), packet.ssrc, sequence, timestamp))
            await handle_rtp(packet, arrival_time_ms)

        async def on_rtcp(packet: Any) -> None:
            if isinstance(packet, RtcpSrPacket) and packets:
                ntp = packet.sender_info.ntp_timestamp / _NTP_FRACTION
                at = _extended(packets[-1].timestamp, packet.sender_info.rtp_timestamp, 32)
                self._reports[kind].append((ntp, at))
            await handle_rtcp(packet)

        receiver._handle_rtp_packet, receiver._handle_rtcp_packet = on_rtp, on_rtcp

    async def _play(self, track: MediaStreamTrack) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                frame: Any = await track.recv()
                # aiortc counts from the first packet.
                timestamp = self.packets[track.kind][0].timestamp + frame.pts
                if track.kind == "audio":
                    samples = frame.to_ndarray().reshape(-1, 2).mean(axis=1) / 32768
                    self._sound.append((timestamp, samples.astype(np.float32)))
                else:
                    self._see(timestamp, frame.to_ndarray()[: frame.height])

    def _see(self, timestamp: int, luma: NDArray[np.uint8]) -> None:
        number, flash = read_mark(luma)
        self.pictures.append(Picture(timestamp, number, flash))
        self.planes = [*self.planes[-9:], luma]


def _extended(last: int | None, value: int, bits: int) -> int:
    if last is None:
        return value
    half = 1 << (bits - 1)
    return last + (value - last + half) % (1 << bits) - half


@asynccontextmanager
async def playing(url: str, token: str) -> AsyncIterator[Player]:
    """Connected already."""
    player = Player()
    try:
        await player.watch(url, token)
        await player.until(lambda: player.peer.connectionState == "connected")
        yield player
    finally:
        await player.close()
