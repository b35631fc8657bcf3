"""A viewer in a network of its own: ``python -m tests.acceptance.turned WHEP-URL TOKEN`` prints how it joins
without TURN, and with the server that the node has named in its first answer."""

import asyncio
import contextlib
import re
import sys

import aiohttp
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription

from tests.integration.waiting import until

_LINK = re.compile(r'<([^>]*)>; rel="ice-server"; username="([^"]*)"; credential="([^"]*)"')
_JOIN_S = 8.0


async def join(url: str, token: str, servers: list[RTCIceServer]) -> tuple[str, list[RTCIceServer]]:
    """The state of the connection after a while, and the TURN servers of the answer."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=servers))
    peer.addTransceiver("audio", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
    offer = peer.localDescription.sdp
    async with aiohttp.ClientSession() as http, http.post(url, data=offer, headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        named = _LINK.findall(answer.headers.get("Link", ""))
        await peer.setRemoteDescription(RTCSessionDescription(await answer.text(), "answer"))
    with contextlib.suppress(TimeoutError):
        await until(lambda: peer.connectionState == "connected", _JOIN_S)
    state = peer.connectionState
    await peer.close()
    return state, [RTCIceServer(urls, username, credential) for urls, username, credential in named]


async def main(url: str, token: str) -> None:
    without, named = await join(url, token, [])
    through, _ = await join(url, token, named)
    print(without, through)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
