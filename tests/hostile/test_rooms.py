"""Peers that ask a room process for more than their share, all at once, beside an innocent viewer.

What each kind costs by itself is counted in the unit tests; here it is what others notice.
"""

import asyncio
import datetime
import struct
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from benchmarks.peers import AUDIO_TYPE, VIDEO_TYPE
from sluice.rooms.engine.dtls import DtlsIdentity
from sluice.wire.rtcp import picture_loss
from tests.acceptance.node import ServedNode
from tests.hostile.beside import Beside
from tests.hostile.meddler import TRANSPORT_ID, VIDEO_SSRC, Datagrams, Meddler, pictures

pytestmark = pytest.mark.anyio

_SECONDS = 13.0  #: a little more than the patience that a room process has
_SPS, _PPS = bytes.fromhex("6742c01f95a01400"), bytes.fromhex("68ce3c80")
_IDR, _P = b"\x65\x88", b"\x41\x9a"


def _nacks(peer: Meddler) -> Iterator[bytes]:
    head, start = struct.pack("!BBHII", 0x81, 205, 332, 1, peer.video), 0
    while True:
        numbers = ((start + 17 * n) & 0xFFFF for n in range(330))
        yield peer.rtcp(head + b"".join(struct.pack("!HH", number, 0xFFFF) for number in numbers))
        start += 330 * 17


def _losses(peer: Meddler) -> Iterator[bytes]:
    while True:
        yield peer.rtcp(picture_loss(1, peer.video))


def _reports(peer: Meddler) -> Iterator[bytes]:
    block = struct.pack("!IIIIII", peer.video, 0, 1, 0, 0, 0)
    while True:
        yield peer.rtcp(struct.pack("!BBHI", 0x9F, 201, 1 + 6 * 31, 1) + block * 31)


def _tiny(peer: Meddler) -> Iterator[bytes]:
    while True:
        yield peer.rtcp(struct.pack("!BBHI", 0x80, 201, 1, 1) + b"\x80\xcc\0\0" * 330)


def _hellos(peer: Meddler) -> Iterator[bytes]:
    while True:
        yield b"\x16\xfe\xfd" + bytes(1000)


def _video(number: int, payload: bytes, *, ssrc: int = VIDEO_SSRC, transport: int | None = None) -> bytes:
    head = struct.pack(
        "!BBHII",
        0x80 if transport is None else 0x90,
        VIDEO_TYPE,
        number & 0xFFFF,
        number * 90 & 0xFFFFFFFF,
        ssrc,
    )
    if transport is not None:
        head += struct.pack("!HHBHx", 0xBEDE, 1, TRANSPORT_ID << 4 | 1, transport & 0xFFFF)
    return head + payload


def _jumps(peer: Meddler) -> Iterator[bytes]:
    """Of both kinds of numbers; libsrtp follows steps below 0x8000."""
    number = 0
    while True:
        yield peer.rtp(_video(number, _P, transport=number))
        number += 0x4000


def _sources(peer: Meddler) -> Iterator[bytes]:
    ssrc = 1000
    while True:
        yield peer.rtp(_video(0, _P, ssrc=ssrc))
        ssrc += 1


def _tiny_pictures(peer: Meddler) -> Iterator[bytes]:
    number = 0
    while True:
        for packet in pictures([_SPS, _PPS, _IDR], number, number * 90):
            yield peer.rtp(packet)
        number += 1


def _units(peer: Meddler) -> Iterator[bytes]:
    number = 0
    while True:
        yield peer.rtp(_video(number, b"\x18" + b"\0\2\x41\x9a" * 330))
        number += 1


def _sounds(peer: Meddler) -> Iterator[bytes]:
    number = 0
    while True:
        head = struct.pack("!BBHII", 0x80, AUDIO_TYPE, number & 0xFFFF, number * 960 & 0xFFFFFFFF, 9)
        yield peer.rtp(head + b"opus")
        number += 1


#: Each attack: what is sent, how often each second, and what its text says (nothing: it may stay).
_VIEWERS: dict[str, tuple[Datagrams, int, str]] = {
    "NACKs": (_nacks, 150, "packets a second again"),
    "picture loss": (_losses, 1600, "800 RTCP packets a second"),
    "reports": (_reports, 1600, "800 RTCP packets a second"),
    "tiny packets": (_tiny, 1600, "800 RTCP packets a second"),
    "DTLS": (_hellos, 100, ""),
}
_PUBLISHERS: dict[str, tuple[Datagrams, int, str]] = {
    "jumps": (_jumps, 500, ""),
    "an SSRC for each packet": (_sources, 100, "64 SSRCs"),
    "tiny pictures": (_tiny_pictures, 600, "250 pictures a second"),
    "NAL units": (_units, 500, "10000 NAL units"),
    "sounds": (_sounds, 800, "400 packets of sound a second"),
}


async def test_peers_that_ask_for_more_than_their_share_are_ended_alone(
    node: ServedNode, beside: Beside
) -> None:
    (engine,) = node.children("sluice.rooms.engine")
    identity = DtlsIdentity(datetime.datetime.now(datetime.UTC))
    with ExitStack() as stack:

        async def attack(name: str, kind: tuple[Datagrams, int, str], *, publishes: bool) -> tuple[str, str]:
            peer = Meddler("127.0.0.1", identity)
            stack.callback(peer.socket.close)
            user = f"{'p' if publishes else 'v'}-{name.replace(' ', '-')}"
            await peer.join(node, beside.room, user, publishes=publishes)
            await peer.meddle(kind[0], kind[1], _SECONDS)
            return name, await peer.why_ended(node, beside.room)

        async with beside.innocent() as seen:
            ended = dict(
                await asyncio.gather(
                    *(attack(name, kind, publishes=False) for name, kind in _VIEWERS.items()),
                    *(attack(name, kind, publishes=True) for name, kind in _PUBLISHERS.items()),
                )
            )
    for name, (_, _, why) in (_VIEWERS | _PUBLISHERS).items():
        assert why in ended[name], (name, ended)
    assert node.children("sluice.rooms.engine") == [engine]
    seen.check()
