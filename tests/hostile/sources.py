"""Servers of sources that never come to an end, or promise much: each for an address that it is asked for."""

import asyncio
import gzip

from tests.hostile.strangers import Script, write_for_ever


async def answer_nothing(request: bytes, writer: asyncio.StreamWriter) -> None:
    pass


async def drip_head(request: bytes, writer: asyncio.StreamWriter) -> None:
    await write_slowly(writer, b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n")


async def drip_body(request: bytes, writer: asyncio.StreamWriter) -> None:
    await write_slowly(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n", b"\0")


async def write_slowly(writer: asyncio.StreamWriter, head: bytes, part: bytes) -> None:
    writer.write(head)
    while True:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.05)


async def endless_head(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    await write_for_ever(writer, b"X-Header: " + b"a" * 1000 + b"\r\n")


async def redirect(request: bytes, writer: asyncio.StreamWriter) -> None:
    """To another address each time."""
    await asyncio.sleep(0.2)
    here = request.split()[1].decode()
    writer.write(f"HTTP/1.1 302 Found\r\nLocation: {here}a\r\nContent-Length: 0\r\n\r\n".encode())


async def endless_sound(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n")
    await write_for_ever(writer, b"\xff\xfb\x90\xc4" + bytes(413))


async def looping_playlists(request: bytes, writer: asyncio.StreamWriter) -> None:
    await respond(writer, b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nagain.m3u8\n" * 16)


async def growing_lists(request: bytes, writer: asyncio.StreamWriter) -> None:
    here = request.split()[1].decode()
    await respond(writer, "".join(f"{here}{n}.m3u\n" for n in range(100)).encode())


async def stalled_live(request: bytes, writer: asyncio.StreamWriter) -> None:
    if b"GET /live.m3u8" in request:
        await respond(writer, b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na.ts\n#EXTINF:2,\nb.ts\n")


async def packed_bomb(request: bytes, writer: asyncio.StreamWriter) -> None:
    body = gzip.compress(bytes(64 << 20))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)


async def endless_boxes(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900000000000\r\n\r\n")
    await write_for_ever(writer, b"\0\x10\0\0free" + bytes((1 << 20) - 8))


async def respond(writer: asyncio.StreamWriter, body: bytes) -> None:
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()
    writer.close()


#: What is asked for, and the server.
HOSTILE: dict[str, tuple[str, Script]] = {
    "no answer": ("/a.mp4", answer_nothing),
    "a head that drips": ("/a.mp4", drip_head),
    "a body that drips": ("/a.mp4", drip_body),
    "an endless head": ("/a.mp4", endless_head),
    "endless redirects": ("/a", redirect),
    "endless sound": ("/a.mp3", endless_sound),
    "playlists that name each other": ("/a.m3u8", looping_playlists),
    "lists that name each other": ("/a.m3u", growing_lists),
    "a live playlist without segments": ("/live.m3u8", stalled_live),
    "a bomb": ("/a.mp4", packed_bomb),
    "endless boxes": ("/a.mp4", endless_boxes),
}
