"""The frame link: frames survive any split of the stream, and nothing unbounded or foreign gets through."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.ids import RunId
from sluice.core.rooms import StreamIndex
from sluice.process.documents import (
    GroupRequest,
    Hello,
    KeyFrameRequest,
    LinkDocument,
    Publisher,
    Replaced,
    Subscribe,
    pack_document,
    read_document,
)
from sluice.process.link import (
    HEAD,
    KEY_FRAME,
    MAX_PAYLOAD,
    MOST_CHANNELS,
    FrameParser,
    FrameType,
    LinkError,
    LinkFrame,
    pack_frame,
)

frames = st.builds(
    LinkFrame,
    st.sampled_from(FrameType).map(int),
    st.sampled_from([0, KEY_FRAME]),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.binary(max_size=50),
    st.integers(0, MOST_CHANNELS - 1),
)


def test_golden_bytes() -> None:
    assert pack_frame(FrameType.VIDEO, b"abc", -2, KEY_FRAME, 0x1234) == bytes.fromhex(
        "00000003 01 01 1234 fffffffffffffffe 616263"
    )


@given(st.lists(frames, max_size=8), st.lists(st.integers(0, 200), max_size=20))
def test_any_split(sent: list[LinkFrame], cuts: list[int]) -> None:
    stream = b"".join(pack_frame(FrameType(f.type), f.payload, f.media_us, f.flags, f.channel) for f in sent)
    borders = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    parser = FrameParser()
    pieces = [stream[start:end] for start, end in pairwise(borders)]
    assert [frame for piece in pieces for frame in parser.feed(piece)] == sent


def test_frames_before_a_broken_one_are_delivered() -> None:
    parser = FrameParser()
    stream = pack_frame(FrameType.AUDIO, b"x", 1) + HEAD.pack(MAX_PAYLOAD + 1, FrameType.VIDEO, 0, 0, 0)
    feeding = parser.feed(stream)
    assert next(feeding) == LinkFrame(FrameType.AUDIO, 0, 1, b"x")
    with pytest.raises(LinkError, match=str(MAX_PAYLOAD + 1)):
        next(feeding)


def test_a_reader_that_stops_in_the_middle_loses_nothing() -> None:
    parser = FrameParser()
    first, second = pack_frame(FrameType.AUDIO, b"1"), pack_frame(FrameType.AUDIO, b"2")
    feeding = parser.feed(first + second)
    assert next(feeding).payload == b"1"
    del feeding
    assert [frame.payload for frame in parser.feed(b"")] == [b"2"]


STREAM: Any = {"app_id": "app", "room_id": "room", "user_id": "anna", "stream": 1}


@pytest.mark.parametrize(
    "document",
    [
        Hello(**STREAM, run_id=RunId("run")),
        Subscribe(**STREAM),
        Publisher(present=True, video=True, trouble={"video": "no key frame has come yet"}),
        KeyFrameRequest(),
        GroupRequest(),
        Replaced(),
    ],
)
def test_documents(document: LinkDocument) -> None:
    (frame,) = FrameParser().feed(pack_document(document, 7))
    assert (frame.type, frame.channel) == (FrameType.CONTROL, 7)
    assert read_document(frame.payload) == document


def test_golden_document() -> None:
    said = read_document(
        b'{"type":"hello","app_id":"a","room_id":"r","user_id":"u","stream":0,"run_id":"run"}'
    )
    assert isinstance(said, Hello)
    assert said.key == ("u", StreamIndex.CAMERA)


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"{", b"[]", b"1", b"\xff\xfe", b"{}", b'{"type": "other"}', b"[" * 100_000),
        b'{"type": "subscribe", "app_id": "a", "room_id": "r", "user_id": "u"}',
        b'{"type": "subscribe", "app_id": "a", "room_id": "r", "user_id": "u", "stream": 2}',
        b'{"type": "hello", "app_id": ["a"], "room_id": "r", "user_id": "u", "stream": 0, "run_id": "x"}',
        b'{"type": "hello", "app_id": "a", "room_id": "r", "user_id": "u", "stream": 0}',
        b'{"type": "publisher", "trouble": 1}',
    ],
)
def test_what_is_no_document(payload: bytes) -> None:
    with pytest.raises(LinkError, match="outside the schema"):
        read_document(payload)
