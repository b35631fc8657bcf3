"""What containers of strangers may claim, and how fast they may change: small files that cost much."""

import io
import struct

import av
import pytest

from sluice.core.errors import SourceError
from sluice.core.limits import MOST_SAMPLES
from sluice.core.plan import AudioTrack, Probe
from sluice.core.tasks import RelaySpec
from sluice.media.packets import Packet, TrackKind
from sluice.media.pipe.sound_decode import SoundDecode
from sluice.media.pipe.tracks import Tracks
from sluice.media.source import rates
from sluice.media.source.containers import container_for
from sluice.media.source.mp4_claims import Mp4Claims
from sluice.media.source.sniff import SniffedFile
from tests.integration.test_allocations import box, table

RATES = 48000, 44100
SILENCE = bytes.fromhex("211004608c1c")  #: a frame of AAC
FTYP = box(b"ftyp", b"isom", bytes(4), b"isom")
CONFIGS = bytes.fromhex("1190"), bytes.fromhex("1210")


def trak(
    samples: int, *, delta: int = 10, scale: int = 12800, sizes: bytes = b"stsz", handler: bytes = b"vide"
) -> bytes:
    entry = box(b"mp4v", bytes(6), b"\0\1", bytes(16), struct.pack(">HH", 320, 180), bytes(50))
    tables = box(
        b"stbl",
        box(b"stsd", struct.pack(">II", 0, 1), entry),
        table(b"stts", 1, samples, delta),
        table(b"stsc", 1, 1, samples, 1),
        table(sizes, 10, samples),
        table(b"stco", 1, 1000),
    )
    head = table(b"mdhd", 0, 0, scale, 1, 0x55C40000)
    media = box(b"mdia", head, box(b"hdlr", bytes(8), handler, bytes(13)), box(b"minf", tables))
    return box(b"trak", table(b"tkhd", 0, 0, 1, 0, 0, *[0] * 15), media)


def movie(*tracks: bytes, data: int = 100_000) -> bytes:
    return FTYP + box(b"moov", table(b"mvhd", *[0] * 24), *tracks) + box(b"mdat", bytes(data))


def fragment(samples: int) -> bytes:
    header = box(b"tfhd", struct.pack(">II", 0x020000, 1))
    run = box(b"trun", struct.pack(">II", 0, samples))
    return box(b"moof", table(b"mfhd", 1), box(b"traf", header, run))


def large(name: bytes, *body: bytes) -> bytes:
    """With its size in 64 bits."""
    data = b"".join(body)
    return struct.pack(">I", 1) + name + struct.pack(">Q", 16 + len(data)) + data


def read_all(data: bytes) -> int:
    """How many packets the source has. Raises SourceError."""
    return read_all_of(io.BytesIO(data))


def read_all_of(file: io.BytesIO) -> int:
    container = container_for(SniffedFile(file))
    try:
        container.open()
        return sum(1 for _ in iter(container.next, None))
    finally:
        container.close()


def flv(*tags: tuple[int, int, bytes]) -> bytes:
    """Each with its type, time in milliseconds and body."""
    head = b"FLV\1\5" + struct.pack(">II", 9, 0)
    return head + b"".join(
        bytes([kind]) + len(body).to_bytes(3, "big") + ms.to_bytes(3, "big") + bytes(4) + body
        + (11 + len(body)).to_bytes(4, "big")
        for kind, ms, body in tags
    )  # fmt: skip


def sound(n: int, ms: int) -> tuple[int, int, bytes]:
    return 8, ms, b"\xaf\1" + SILENCE


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (movie(trak(60_000_000)), "claims more than 10000000 samples"),
        (movie(*[trak(7_000_000)] * 20), "claims more than 10000000 samples"),
        (movie(*[trak(7_000_000, sizes=b"stz2")] * 20), "claims more than 10000000 samples"),
        (movie(*[trak(7_000_000, delta=1)] * 20), "claims more than 10000000 samples"),
        (movie() + fragment(60_000_000), "claims more than 10000000 samples"),
        (movie() + fragment(9_000_000) * 2, "claims more than 10000000 samples"),
        (FTYP + large(b"moov", trak(60_000_000)), "claims more than 10000000 samples"),
        (movie(*[trak(1)] * 200), "more than 128 tracks"),
        (movie(*[trak(7_000_000)] * 4).replace(b"moov", b"free"), "claims more than 10000000 samples"),
        (movie(*[trak(7_000_000)] * 4).replace(b"moov", b"hoov"), "claims more than 10000000 samples"),
        (movie(trak(5)).replace(b"moov", b"free") + movie(*[trak(7_000_000)] * 4), "claims more than"),
        (movie(box(b"trak", box(b"edts", table(b"elst", 200_000)))), "more than 10000 edits"),
        (movie(box(b"cmov", bytes(100))), "head of the MP4 is compressed"),
        (movie(box(b"stsd", bytes(100), table(b"stsz", 10, 60_000_000))), "hides tables"),
    ],
)
def test_what_an_mp4_claims_is_refused_before_it_is_made(data: bytes, words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        read_all(data)
    assert not caught.value.transient


@pytest.mark.parametrize("size", [1, 7, 100, 32768])
def test_claims_are_seen_however_the_bytes_come(size: int) -> None:
    data, claims = movie(trak(6_000_000), trak(6_000_000)), Mp4Claims()

    def feed() -> None:
        for at in range(0, len(data), size):
            claims.feed(at, data[at : at + size])

    with pytest.raises(SourceError, match="samples"):
        feed()


def test_an_index_at_the_end_is_found_behind_a_jump() -> None:
    claims, size = Mp4Claims(), 10_000_000_000
    data = struct.pack(">I", 1) + b"mdat" + struct.pack(">Q", size) + bytes(100)
    claims.feed(0, data)
    with pytest.raises(SourceError, match="samples"):
        claims.feed(size, movie(trak(MOST_SAMPLES + 1)))


@pytest.mark.parametrize("box", [bytes(8), struct.pack(">I", 1) + b"mdat" + b"\xff" * 8], ids=["0", "2^64-1"])
def test_a_box_may_reach_to_the_end_of_the_file(box: bytes) -> None:
    claims = Mp4Claims()
    claims.feed(0, box + bytes(100))
    claims.feed(len(box) + 100, bytes(100))


def test_honest_claims_are_taken() -> None:
    claims, ten_hours = Mp4Claims(), trak(2_000_000_000, delta=1, handler=b"soun")
    head, part = movie(trak(5_000_000), ten_hours), fragment(50_000) + box(b"mdat", bytes(1_000_000))
    claims.feed(0, head)
    for n in range(400):  # fragments go on for ever, and bring their bytes
        claims.feed(len(head) + n * len(part), part)
    claims.feed(len(head) + 400 * len(part), fragment(9_000_000))
    with pytest.raises(SourceError, match="samples"):
        claims.feed(len(head) + 400 * len(part) + len(fragment(1)), fragment(9_000_000))


def test_a_stream_may_repeat_its_index_with_each_piece() -> None:
    """FFmpeg passes over all but the first, whatever they claim."""
    piece = movie(trak(5), data=100)
    assert read_all(piece * 200) == 5
    assert read_all(piece + movie(trak(60_000_000))) == 5


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"FLV\1\5" + struct.pack(">I", 0xFFFFFF00) + bytes(10_000), "header of more than 64 KiB"),
        (
            flv((8, 0, b"\xaf\0" + CONFIGS[0]), *[sound(n, 0) for n in range(60_000)]),
            "more than 10000 packets of audio",
        ),
        (movie(trak(60_000, scale=1 << 30), data=700_000), "more than 10000 packets of video"),
    ],
)
def test_what_has_no_time_for_itself_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        read_all(data)


def opus(frames: int = 1) -> bytes:
    """A link of Ogg with silence, 20 ms for each frame."""
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as out:
        stream = out.add_stream("libopus", rate=48000)
        stream.layout = "stereo"
        frame = av.AudioFrame(format="s16", layout="stereo", samples=960)
        frame.sample_rate = 48000
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        for n in range(frames):
            frame.pts = n * 960
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def test_links_without_end_are_refused() -> None:
    link = opus()
    assert read_all(link * 50) == 50 * read_all(link)
    with pytest.raises(SourceError, match="begins anew more than 5 times a second"):
        read_all(link * 500)


class Endless(io.BytesIO):
    """Bytes that say nothing, behind those that do."""

    def __init__(self, head: bytes, rest: bytes) -> None:
        super().__init__(head)
        self._rest, self._left = rest, 400 << 20

    def seekable(self) -> bool:
        return False

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if not data and self._left > 0:
            data = self._rest
            self._left -= len(data)
        return data


def test_bytes_without_media_have_an_end() -> None:
    nulls = (b"G\x1f\xff\x10" + bytes(184)) * 170  # of a transport stream
    with pytest.raises(SourceError, match=r"256 MiB of the source"):
        read_all_of(Endless(nulls[:1880], nulls))


def pcm(frames: int, rate: int, channels: int) -> tuple[AudioTrack, Packet]:
    track = AudioTrack("pcm_s16le", b"", rate, channels)
    return track, Packet(TrackKind.AUDIO, bytes(2 * frames * channels), 0, 0, True)


@pytest.mark.parametrize(
    ("rate", "channels", "whole"),
    [(48000, 2, True), (1, 1, False), (1_000_000_000, 2, False)],
)
def test_sound_that_changes_to_what_cannot_be_resampled_is_dropped(
    rate: int, channels: int, whole: bool
) -> None:
    track, packet = pcm(1000, rate, channels)
    decode = SoundDecode(track)
    assert bool(decode.decode(packet)) == whole
    assert decode.dropped == (not whole)


def test_a_search_for_a_place_in_flv_looks_at_each_byte_once() -> None:
    like_tags = (b"\x08\xff\xff\xf0" + bytes(7)) * 200_000
    tags = [(8, 0, b"\xaf\0" + CONFIGS[0]), *[sound(n, n * 21) for n in range(500)]]
    source = container_for(SniffedFile(io.BytesIO(flv(*tags) + like_tags)))
    source.open()
    source.seek(5_000_000)
    packet = source.next()
    assert packet is not None
    assert packet.dts_us <= 5_000_000


def test_a_source_that_is_played_again_and_again_is_no_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MOST_PACKETS", 600)
    tags = [(8, 0, b"\xaf\0" + CONFIGS[0]), *[sound(n, n * 21) for n in range(500)]]
    source = container_for(SniffedFile(io.BytesIO(flv(*tags))))
    source.open()
    for _ in range(20):
        source.seek(0)
        assert sum(1 for _ in iter(source.next, None)) == 500


def test_a_chain_of_songs_may_be_played_again_and_again() -> None:
    source, packets = container_for(SniffedFile(io.BytesIO(opus(100) * 10))), set()
    source.open()
    for _ in range(20):
        source.seek(0)
        packets.add(sum(1 for _ in iter(source.next, None)))
    assert len(packets) == 1


def test_a_track_that_goes_on_in_another_form_with_each_packet_ends_the_source() -> None:
    tracks_of = [AudioTrack("aac", config, rate, 2) for config, rate in zip(CONFIGS, RATES, strict=True)]
    tracks = Tracks(RelaySpec("http://h/"), Probe(None, tracks_of[0], False, True, None))

    def push(count: int, step_us: int) -> None:
        for n in range(count):
            packet = Packet(TrackKind.AUDIO, SILENCE, n * step_us, n * step_us, True)
            packet.track = tracks_of[n % 2]
            tracks.push(packet)

    push(90, 1_000_000)  # once a second is bearable
    with pytest.raises(SourceError, match="in another form more than 5 times a second"):
        push(300, 20_000)
