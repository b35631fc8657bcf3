"""Targets: what comes in packets, offers and containers, as pure functions of the wire ring."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from sluice.rooms.engine.negotiation import NotAllowed, agree_to_publish, agree_to_watch
from sluice.wire import rtcp
from sluice.wire.aac import AacConfig, AacError
from sluice.wire.amf0 import Amf0Error, EcmaArray, decode, encode
from sluice.wire.flv import FlvError, parse_audio_tag, parse_video_tag
from sluice.wire.h264 import (
    AvcConfig,
    H264Error,
    Sps,
    begins_picture,
    slice_head,
    slice_type,
    split_annexb,
    split_avcc,
)
from sluice.wire.h264_rtp import H264Depacketizer
from sluice.wire.id3 import tag_bytes, timestamp_us
from sluice.wire.parameter_sets import ParameterSets
from sluice.wire.picture_order import PictureOrder
from sluice.wire.rtmp_chunks import COMMAND_AMF0, ChunkReader, Message, RtmpError, write_message
from sluice.wire.rtp import RtpError, RtpPacket, extension_element, original_of_rtx, parse_rtp
from sluice.wire.sdp import SdpError, parse_fragment, parse_offer
from tests.fuzz.target import Choices, Target

DATA = Path(__file__).parents[1] / "data"
SPS, PPS = bytes.fromhex("6742c01f95a01400"), bytes.fromhex("68ce3c80")
PICTURES = (SPS, PPS, b"\x65\x88" + bytes(30), b"\x41\x9a" + bytes(30))


def all_of(
    *parsers: Callable[[bytes], object], raises: tuple[type[Exception], ...]
) -> Callable[[bytes], None]:
    """Each of them on the same bytes, whatever the others say."""

    def run(data: bytes) -> None:
        for parser in parsers:
            with contextlib.suppress(*raises):
                parser(data)

    return run


def _rtp(data: bytes) -> None:
    packet = parse_rtp(data)
    for wanted in (1, 3, 15):
        extension_element(packet.extension, wanted)
    original_of_rtx(packet, 102, 7)


def _depacketized(data: bytes) -> None:
    """Payloads with their numbers, as they may come after a jitter buffer."""
    choices, depacketizer, order, sequence = Choices(data), H264Depacketizer(), PictureOrder(), 0
    while choices:
        flags = choices.number(1)
        sequence += 1 + (flags >> 4 & 3)
        stamp = sequence // (1 + (flags & 7)) * 3600
        packet = RtpPacket(102, bool(flags & 8), sequence & 0xFFFF, stamp & 0xFFFFFFFF, 7, choices.some())
        for unit in depacketizer.feed(packet):
            order.goes_back(unit.nal_units)
    depacketizer.flush()


def _sets(data: bytes) -> None:
    sets = ParameterSets()
    units = split_annexb(data)
    sets.note(units)
    sets.record()
    assert len(sets.units) < 600
    sps = Sps.parse(units[0] if units else b"")
    for unit in units[1:]:
        begins_picture(unit)
        slice_type(unit)
        slice_head(unit, sps)
        sets.sps_of(unit[0])


def _lengths(data: bytes) -> None:
    for size in (1, 2, 4):
        with contextlib.suppress(H264Error):
            split_avcc(data, size)


def _order(data: bytes) -> None:
    order, choices = PictureOrder(), Choices(data)
    while choices:
        order.goes_back([choices.some() or b"\0" for _ in range(choices.number(1) & 7)])


def _chunks(data: bytes) -> None:
    """In pieces, as they come from a socket."""
    reader, choices = ChunkReader(), Choices(data)
    while choices:
        reader.receive(choices.take(1 + choices.number(1)))


def _sdp(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for read in (
        parse_offer,
        parse_fragment,
        agree_to_watch,
        lambda t: agree_to_publish(t, {"audio", "video"}),
    ):
        with contextlib.suppress(SdpError, NotAllowed):
            read(text)


def _offers() -> list[bytes]:
    return [path.read_bytes() for path in (DATA / "offers").iterdir()]


_FLV = (FlvError, AacError, H264Error)
_START = b"\0\0\0\1"
TARGETS = {
    "rtp": Target(_rtp, (RtpError,), lambda: (bytes.fromhex("90669000000000010000000abede000110aa0000"),)),
    "rtcp": Target(
        rtcp.parse,
        (rtcp.RtcpError,),
        lambda: (
            rtcp.nack(1, 2, [1, 2, 900]),
            rtcp.picture_loss(1, 2)
            + rtcp.sender_report(1, unix_time=0, timestamp=0, packets=0, octets=0, cname="a"),
        ),
    ),
    "sdp": Target(_sdp, (), _offers),
    "h264": Target(
        all_of(_sets, _lengths, AvcConfig.parse, Sps.parse, raises=(H264Error,)),
        (),
        lambda: (_START + _START.join(PICTURES), SPS),
    ),
    "h264_rtp": Target(
        _depacketized, (), lambda: (b"".join(b"\x08" + bytes((len(u),)) + u for u in PICTURES),)
    ),
    "picture_order": Target(_order, (), lambda: (b"\4" + b"".join(bytes((len(u),)) + u for u in PICTURES),)),
    "flv_tags": Target(
        all_of(parse_video_tag, parse_audio_tag, AacConfig.parse, raises=_FLV),
        (),
        lambda: (b"\x17\0\0\0\0\1B\xc0\x1f\xff\xe1", b"\xaf\0\x12\x10", b"\x90avc1\0\0"),
    ),
    "amf0": Target(
        decode,
        (Amf0Error,),
        lambda: (
            encode("onMetaData", EcmaArray(width=1.0, list=[None, True, {"a": "b"}])),
            b"\x03\0\1a" * 30,
        ),
    ),
    "rtmp_chunks": Target(
        _chunks,
        (RtmpError,),
        lambda: (b"\xff" + write_message(3, Message(COMMAND_AMF0, 0, 0, encode("_result", 1.0) * 20)),),
    ),
    "id3": Target(
        all_of(tag_bytes, timestamp_us, raises=()), (), lambda: (b"ID3\4\0\0\0\0\0\x3fPRIV" + bytes(60),)
    ),
}
