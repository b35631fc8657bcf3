"""A peer with a token that says in RTP and RTCP whatever it likes, under keys that are in order."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator

import aiohttp
from pylibsrtp import Policy, Session

from benchmarks.peers import VIDEO_TYPE
from sluice.wire.rtp import h264_payloads, headers
from tests.acceptance.node import ServedNode
from tests.hostile.roamer import Roamer

TRANSPORT_ID = 3
VIDEO_SSRC = 7
_TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
_KEY, _SALT = 16, 12
_TICK_S = 0.02
_ICE_S = 1.0
#: Makes the next datagram, which is sent as it is.
Datagrams = Callable[["Meddler"], Iterator[bytes]]


class Meddler(Roamer):
    """`user` publishes, or watches the room's source; `video` is the SSRC of the pictures that it gets."""

    user = ""
    video = 0
    publishes = False

    def offer(self) -> str:
        text = super().offer()
        if not self.publishes:
            return text
        feedback = f"a=rtcp-fb:{VIDEO_TYPE} transport-cc\r\na=extmap:{TRANSPORT_ID} {_TRANSPORT_CC}\r\n"
        return text.replace("a=recvonly", "a=sendonly").replace(
            f"a=rtcp-fb:{VIDEO_TYPE} nack\r\n", f"a=rtcp-fb:{VIDEO_TYPE} nack\r\n{feedback}"
        )

    def connect(self, answer: str) -> None:
        super().connect(answer)
        found = re.search(r"^a=ssrc:(\d+)", answer, re.MULTILINE)
        self.video = int(found.group(1)) if found else 0

    def seal(self) -> None:
        """Makes the keys that it sends with (RFC 5764 4.2: the client's come first)."""
        material = self._dtls.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (_KEY + _SALT))
        key = material[:_KEY] + material[2 * _KEY : 2 * _KEY + _SALT]
        gcm = Policy.SRTP_PROFILE_AEAD_AES_128_GCM
        self.outbound = Session(Policy(key, Policy.SSRC_ANY_OUTBOUND, srtp_profile=gcm))

    def rtp(self, packet: bytes) -> bytes:
        return self.outbound.protect(packet)

    def rtcp(self, packet: bytes) -> bytes:
        return self.outbound.protect_rtcp(packet)

    async def join(self, node: ServedNode, room: str, user: str, *, publishes: bool = False) -> "Meddler":
        self.user, self.publishes = user, publishes
        if not publishes:
            await self.connect_to(node, room, user)
        else:
            await self._publish_to(node, room)
        self.seal()
        return self

    async def _publish_to(self, node: ServedNode, room: str) -> None:
        token = node.token(room, self.user, publish=True)
        headers_ = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
        url = f"{node.url}/whip/{node.credentials.app_id}/{room}"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=self.offer(), headers=headers_) as response,
        ):
            assert response.status == 201, await response.text()
            self.place, self.etag = response.headers["Location"], response.headers["ETag"]
            self.connect(await response.text())
        async with asyncio.timeout(15):
            while self.session is None:
                self.on_tick(time.monotonic())
                self.drain()
                await asyncio.sleep(0.01)

    async def meddle(self, datagrams: Datagrams, each_s: int, seconds: float) -> None:
        """Sends so many each second, and the checks of consent; what the server says is not listened to."""
        made = datagrams(self)
        began = time.monotonic()
        sent, check_at = 0, 0.0
        while (passed := time.monotonic() - began) < seconds:
            if passed >= check_at:
                check_at = passed + _ICE_S
                self._send_check()
            while sent < passed * each_s:
                self.socket.setblocking(True)
                self.send(next(made))
                self.socket.setblocking(False)
                sent += 1
            self.drain()
            await asyncio.sleep(_TICK_S)

    async def why_ended(self, node: ServedNode, room: str) -> str:
        """What its resource says; empty while it is there."""
        request_headers = {
            "Authorization": f"Bearer {node.token(room, self.user, publish=self.publishes)}",
            "Content-Type": "application/trickle-ice-sdpfrag",
            "If-Match": self.etag,
        }
        async with (
            aiohttp.ClientSession() as session,
            session.patch(
                node.url + self.place, data="m=audio 9 RTP/AVP 0\r\n", headers=request_headers
            ) as response,
        ):
            return await response.text() if response.status == 410 else ""


def pictures(units: list[bytes], start: int, timestamp: int) -> list[bytes]:
    """The packets of one picture, not sealed yet."""
    payloads = h264_payloads(units)
    heads = headers(VIDEO_TYPE, start, timestamp, VIDEO_SSRC, len(payloads))
    return [head + payload for head, payload in zip(heads, payloads, strict=True)]
