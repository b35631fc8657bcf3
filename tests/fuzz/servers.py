"""Targets: what servers of sources and receivers of callbacks say: addresses, heads, bodies, lists, FLV."""

import contextlib
import gzip
import io
import re
import zlib
from collections.abc import Callable
from itertools import islice

import brotli

from sluice.core.errors import SourceError
from sluice.core.http_url import HttpUrl, join_url
from sluice.core.ice_servers import parse_ice_server
from sluice.core.masking import mask_url
from sluice.core.urls import CALLBACK_URL, SOURCE_URL
from sluice.media.source.dash_manifest import parse_manifest
from sluice.media.source.dash_xml import parse_xml
from sluice.media.source.flv import FlvDemuxer
from sluice.media.source.hls_forms import Ending, form_of
from sluice.media.source.hls_master import is_master, parse_master
from sluice.media.source.hls_playlist import parse_media
from sluice.media.source.playlist import entries_of, is_hls, may_be_list
from sluice.media.source.recorded import tells_length
from sluice.media.source.sniff import Content, content_of
from sluice.net.unpack import Unpacker
from sluice.wire.cookies import CookieJar
from sluice.wire.flv import PacketType, write_aac_tag, write_avc_tag
from sluice.wire.http_answer import HttpError, parse_head
from sluice.wire.rtmp_auth import Login, LoginFailed
from sluice.wire.rtmp_url import RtmpUrl
from tests.fuzz.target import Choices, Target

BASE = "https://example.com/live/index.m3u8?token=1"
_NOW_US = 1_800_000_000_000_000
_MOST_PACKETS = 10_000


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode("utf-8", "replace"))


def _manifest(text: str) -> None:
    manifest = parse_manifest(text, BASE)
    for kind in manifest.kinds():
        for choice in range(min(4, manifest.choices(kind))):
            manifest.segments(kind, _NOW_US, choice)


def _addresses(text: str) -> None:
    readers: tuple[Callable[[str], object], ...] = (
        HttpUrl.parse,
        lambda url: join_url(BASE, url),
        lambda url: join_url(url, "../x"),
        CALLBACK_URL.check,
        SOURCE_URL.check,
        parse_ice_server,
        lambda url: RtmpUrl.parse(url).redirected("rtmp://example.com/other"),
        lambda url: RtmpUrl.parse("rtmp://user:password@example.com/live/key").redirected(url),
    )
    for read in readers:
        with contextlib.suppress(ValueError):
            read(text)
    mask_url(text)


def _head(data: bytes) -> None:
    head = parse_head(data.split(b"\n"))
    for name in ("content-type", "location", "set-cookie", "www-authenticate"):
        head.all(name)
    assert head.length is None or head.length >= 0
    _ = head.chunked, head.codings, head.content_range, head.size_without_range
    _store_cookies(head.all("set-cookie"))


def _store_cookies(lines: list[str]) -> None:
    jar, url = CookieJar(), HttpUrl.parse(BASE)
    jar.store(url, lines, 1e9)
    jar.header(url, 1e9)


def _login(text: str) -> None:
    if Login.is_wanted(text):
        Login("user", "password").parameters(text, "live", "00000000")


def _sniff(data: bytes) -> None:
    for name in ("a.m3u", "a.bin"):
        may_be_list(data, "text/plain", name)
    content_of(data)
    tells_length(data)
    ending = Ending(form_of(data))
    for at in range(0, len(data), 100):
        ending.feed(data[at : at + 100])


def _list(data: bytes) -> None:
    kinds = (Content.PLS, Content.XSPF, content_of(data))
    text = data.decode("utf-8", "replace")
    is_hls(text)
    for kind in kinds:
        with contextlib.suppress(SourceError):
            entries_of(kind, text, BASE)


def _flv(data: bytes) -> None:
    """As a recording in which somebody jumps, and as a live stream."""
    for live in (True, False):
        with contextlib.suppress(SourceError):
            demuxer = FlvDemuxer(io.BytesIO(data), live=live)
            demuxer.open()
            _read(demuxer)
            if not live:
                demuxer.seek(500_000)
                _read(demuxer)


def _read(demuxer: FlvDemuxer) -> None:
    while demuxer.next() is not None:
        pass


def _unpack(data: bytes) -> None:
    choices = Choices(data)
    codings = [("gzip", "deflate", "br")[choices.number(1) % 3] for _ in range(1 + choices.number(1) % 3)]
    unpacker = Unpacker(codings, io.BytesIO(choices.rest()).read)
    for _ in islice(iter(lambda: unpacker.read(65536), b""), _MOST_PACKETS):
        pass


def _flv_seed() -> bytes:
    tags = (
        (9, 0, write_avc_tag(PacketType.CONFIG, b"\1B\xc0\x1f\xff\xe1\0\1g\1\0\1h", key=True)),
        (8, 0, write_aac_tag(PacketType.CONFIG, b"\x12\x10")),
        (9, 40, write_avc_tag(PacketType.FRAME, b"\0\0\0\2\x65\x88", key=True)),
        (8, 40, write_aac_tag(PacketType.FRAME, b"\x21\x10")),
    )
    made = b"FLV\1\5\0\0\0\x09\0\0\0\0"
    for kind, time_ms, body in tags:
        tag = bytes((kind,)) + len(body).to_bytes(3, "big") + time_ms.to_bytes(3, "big") + bytes(4) + body
        made += tag + len(tag).to_bytes(4, "big")
    return made


MEDIA = (
    b'#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-DEFINE:NAME="a",'
    b'VALUE="b"\n#EXT-X-MAP:URI="i.mp4",BYTERANGE="9@0"\n#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x1\n'
    b"#EXT-X-PROGRAM-DATE-TIME:2026-11-30T12:00:00Z\n#EXTINF:4.0,title\n#EXT-X-BYTERANGE:100@9\ns{$a}.m4s\n"
    b"#EXT-X-DISCONTINUITY\n#EXT-X-GAP\n#EXTINF:4,\nt.m4s\n#EXT-X-ENDLIST\n"
)
MASTER = (
    b'#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="n",DEFAULT=YES,URI="a.m3u8"\n#EXT-X-STREAM-INF:'
    b'BANDWIDTH=1000000,CODECS="avc1.42c01e,mp4a.40.2",RESOLUTION=640x360,AUDIO="a"\nv.m3u8\n'
)
MANIFEST = (
    b'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT10S"><Period>'
    b'<AdaptationSet mimeType="video/mp4"><SegmentTemplate timescale="1000" initialization="i.mp4" '
    b'media="$Number%05d$-$Time$.m4s" startNumber="1"><SegmentTimeline><S t="0" d="2000" r="3"/><S d="2000"/>'
    b'</SegmentTimeline></SegmentTemplate><Representation id="v" bandwidth="9" codecs="avc1.42c01e"/>'
    b"</AdaptationSet></Period></MPD>"
)
_XML = (
    b'<?xml version="1.0"?><playlist><trackList><track><location>a.mp3</location></track></trackList>'
    b"</playlist>"
)
_HEAD = (
    b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-9/10\r\nSet-Cookie: a=b; Path=/; Max-Age=9; "
    b"Domain=.example.com; Expires=Wed, 21 Oct 2026 07:28:00 GMT\r\nContent-Encoding: gzip\r\n"
    b"Transfer-Encoding: chunked"
)
_NUMBERS = ("0", "1", "-1", "2", "90000", "2147483647", "4000000000", "9" * 18, "9" * 400, "1.5", "", "x")
_DURATIONS = ("PT10S", "PT1S", "PT0S", "PT10H", "P99999999D", "PT0.000001S", f"PT{'9' * 300}S", "")


def _claims(data: bytes) -> None:
    """A manifest that is well formed, with any numbers and any count of entries."""
    choices = Choices(data)

    def number() -> str:
        chosen = choices.number(1)
        return _NUMBERS[chosen] if chosen < len(_NUMBERS) else str(choices.number(1 + chosen % 8))

    def attributes(*names: str) -> str:
        told = choices.number(1)
        return " ".join(f'{name}="{number()}"' for n, name in enumerate(names) if told >> n & 1)

    def period() -> str:
        entries = [f"<S {attributes('t', 'd', 'r')}/>" for _ in range(choices.number(1) % 8)]
        template = attributes("timescale", "duration", "startNumber", "endNumber", "presentationTimeOffset")
        line = f"<SegmentTimeline>{''.join(entries)}</SegmentTimeline>" if entries else ""
        return (
            f"<Period {_duration(choices, 'start')} {_duration(choices, 'duration')}><AdaptationSet "
            'mimeType="video/mp4"><Representation id="v" bandwidth="1" codecs="avc1.42c01e">'
            f'<SegmentTemplate media="$Number%0{choices.number(1)}d$-$Time$" {template}>{line}'
            "</SegmentTemplate></Representation></AdaptationSet></Period>"
        )

    kind = ("static", "dynamic")[choices.number(1) & 1]
    periods = "".join(period() for _ in range(1 + choices.number(1) % 4))
    with contextlib.suppress(SourceError):
        _manifest(
            f'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="{kind}" '
            f"{_duration(choices, 'mediaPresentationDuration')} "
            f"{_duration(choices, 'timeShiftBufferDepth')}>{periods}</MPD>"
        )


def _duration(choices: Choices, name: str) -> str:
    chosen = choices.number(1)
    return f'{name}="{_DURATIONS[chosen % len(_DURATIONS)]}"' if chosen & 128 else ""


def _lines(data: bytes) -> None:
    """Lines of a playlist in any order and number, a number in them changed now and then."""
    choices, known = Choices(data), (MEDIA + MASTER).decode().splitlines()
    lines = ["#EXTM3U"]
    while choices:
        line = known[choices.number(1) % len(known)]
        change = choices.number(1)
        if change & 3 == 1:
            line = re.sub(r"[0-9]+", _NUMBERS[(change >> 2) % len(_NUMBERS)], line)
        elif change & 3 == 2:
            at = choices.number(1) % (len(line) + 1)
            line = line[:at] + choices.take(change >> 2).decode("latin-1") + line[at:]
        elif change & 3 == 3:
            line += line[len(line) // 2 :] * (change >> 2)
        lines.append(line)
    text = "\n".join(lines)
    for read in (lambda: parse_media(text, BASE), lambda: parse_master(text, BASE)):
        with contextlib.suppress(SourceError):
            read()


TARGETS = {
    "hls_lines": Target(
        _lines, (), lambda: (bytes(n for m in range(12) for n in (m, 0)),), free_s=0.5, us_per_byte=200
    ),
    # A few bytes may stand for as many segments as there may be, 25 us each.
    "dash_claims": Target(_claims, (), lambda: (bytes(40),), free_s=3.0, us_per_byte=500, most_mb=96),
    "hls_playlist": Target(
        _text(lambda text: parse_media(text, BASE)), (SourceError,), lambda: (MEDIA,), longest=1 << 16
    ),
    "hls_master": Target(
        _text(lambda text: (is_master(text), parse_master(text, BASE))), (SourceError,), lambda: (MASTER,)
    ),
    # A short manifest may stand for many segments: that costs for each of them.
    "dash_manifest": Target(
        _text(_manifest), (SourceError,), lambda: (MANIFEST,), free_s=3.0, us_per_byte=50, most_mb=96
    ),
    "dash_xml": Target(_text(parse_xml), (SourceError,), lambda: (MANIFEST, _XML)),
    "list": Target(
        _list, (), lambda: (_XML, b"[playlist]\nFile1=a\nFile2=b\n", b"#EXTM3U\n#EXTINF:1,a\na.mp3\n")
    ),
    "sniff": Target(_sniff, (), lambda: (MANIFEST, _flv_seed(), b"\0\0\0\x18ftypmp42" + bytes(40))),
    "addresses": Target(
        _text(_addresses),
        (),
        lambda: (BASE.encode(), b"rtmp://u:p@h:1/app/key?a=b", b"turn:u:p@h:1", b"http://[x"),
    ),
    "http_head": Target(_head, (HttpError,), lambda: (_HEAD,)),
    "cookies": Target(
        _text(lambda text: _store_cookies(text.split("\n"))), (), lambda: (b"a=b; Path=/; Secure",)
    ),
    "rtmp_login": Target(
        _text(_login),
        (LoginFailed,),
        lambda: (b"code=403 need auth; authmod=adobe : ?reason=needauth&user=u&salt=a&challenge=b&opaque=c",),
    ),
    "flv": Target(_flv, (), lambda: (_flv_seed(),), us_per_byte=60),
    "unpack": Target(
        _unpack,
        (SourceError,),
        lambda: (
            b"\0\0" + gzip.compress(b"one" * 99) * 3,
            b"\1\0" + zlib.compress(b"two" * 99),
            b"\2\0" + brotli.compress(b"three" * 99),
        ),
        free_s=1.0,
        most_mb=32,
    ),
}
