"""The facts of a source: what it says, what its packets show, and the form in which both are told."""

from dataclasses import replace
from fractions import Fraction

from sluice.core.plan import AudioTrack, Probe, VideoTrack
from sluice.core.source_facts import Packaging, Shown, Variant, container_title, language_of, source_facts
from sluice.media.packets import Packet, TrackKind
from sluice.media.source.seen import Seen

#: The begin of a decoder configuration: version, constrained baseline, its constraints, level 3.1.
BASELINE = b"\x01\x42\xc0\x1f"
H264 = VideoTrack("h264", BASELINE, 1280, 720, has_b_frames=False, frame_rate=Fraction(30000, 1001))
AAC = AudioTrack("aac", b"\x12\x10", 44100, 2, profile="LC", bitrate_bps=64_000, language="eng")
BOTH = Probe(H264, AAC, live=False, seekable=True, duration_us=10_000_000)
FRAME_US = 40_000


def pictures(count: int, *, gop: int = 25, size: int = 1000, first: int = 0) -> list[Packet]:
    return [
        Packet(TrackKind.VIDEO, bytes(size), n * FRAME_US, n * FRAME_US, n % gop == 0)
        for n in range(first, first + count)
    ]


def seen_of(packets: list[Packet]) -> Seen:
    seen = Seen()
    for packet in packets:
        seen.note(packet)
    return seen


def test_the_document_of_a_recording() -> None:
    shown = Shown(2_000_000, 29.97, 900_000, 1_000_000)
    document = source_facts(Packaging("MP4", bitrate_bps=1_234_567), BOTH, shown).document()
    assert document == {
        "container": "MP4",
        "segments": None,
        "entries": None,
        "live": False,
        "seekable": True,
        "duration_s": 10.0,
        "bitrate_kbps": 1235,
        "video": {
            "codec": "h264",
            "profile": "Constrained Baseline",
            "width": 1280,
            "height": 720,
            "pixel_aspect": None,
            "rotation": 0,
            "frame_rate": 29.97,
            "bitrate_kbps": 900,
            "gop_s": 1.0,
            "b_frames": False,
        },
        "audio": {
            "codec": "aac",
            "profile": "LC",
            "sample_rate": 44100,
            "channels": 2,
            "bitrate_kbps": 64,
            "language": "eng",
        },
        "variants": [],
        "further_variants": 0,
        "seen_s": 2.0,
    }


def test_what_is_not_known_is_null() -> None:
    document = source_facts(Packaging(), None).document()
    lists = {"variants": [], "further_variants": 0, "seen_s": 0.0}
    assert document == dict.fromkeys(document.keys() - lists.keys()) | lists
    sound = replace(BOTH, video=None, audio=AudioTrack("mp3float", b"", 0, 0), duration_us=None, live=True)
    document = source_facts(Packaging("MP3"), sound).document()
    assert document["audio"] | {"codec": None} == dict.fromkeys(document["audio"])
    assert (document["audio"]["codec"], document["duration_s"], document["bitrate_kbps"]) == (
        "mp3",
        None,
        None,
    )


def test_rates_and_groups_of_pictures_are_seen() -> None:
    shown = seen_of(pictures(51)).shown(TrackKind.VIDEO)
    assert shown == Shown(2_000_000, 25.0, 200_000, 1_000_000)


def test_the_longest_group_of_pictures_counts() -> None:
    packets = pictures(200, gop=200)
    for n in (25, 150, 160):
        packets[n].key = True
    assert seen_of(packets).shown(TrackKind.VIDEO).gop_us == 125 * FRAME_US


def test_a_few_packets_show_no_rate() -> None:
    assert seen_of(pictures(5)).shown(TrackKind.VIDEO) == Shown(4 * FRAME_US)
    assert Seen().shown(TrackKind.AUDIO) == Shown()


def test_the_look_ends() -> None:
    """So that a relay pays for the beginning alone."""
    shown = seen_of(pictures(3000)).shown(TrackKind.VIDEO)
    assert 30_000_000 <= shown.span_us < 31_000_000


def test_pictures_that_come_behind_later_ones_are_b_frames() -> None:
    packets = pictures(10)
    packets[3].pts_us, packets[4].pts_us = packets[4].pts_us, packets[3].pts_us
    probe = seen_of(packets).probe(BOTH)
    assert probe.video is not None
    assert probe.video.has_b_frames
    repeated = [*pictures(10), *pictures(10)]  # a server that sends its last pictures again
    assert seen_of(repeated).probe(BOTH) == BOTH


def test_a_track_that_goes_on_in_another_form_is_looked_at_anew() -> None:
    hevc = replace(H264, codec="hevc", extradata=b"")
    packets = [*pictures(50), *pictures(50, first=50, size=4000)]
    packets[0].track, packets[50].track = replace(H264, context=object()), hevc
    seen = seen_of(packets)
    facts = seen.facts(Packaging("MPEG-TS"), BOTH)
    assert facts.video is not None
    assert (facts.video.codec, facts.video.bitrate_bps) == ("hevc", 800_000)
    assert facts.audio is not None
    before = seen_of(packets[:50]).probe(BOTH).video
    assert before is not None
    assert before.context is None, "it would keep a codec"


def test_a_frame_rate_that_is_told_counts_if_it_fits() -> None:
    def rate(told: Fraction | None, seen: float | None) -> float | None:
        probe = replace(BOTH, video=replace(H264, frame_rate=told))
        facts = source_facts(Packaging(), probe, Shown(rate=seen))
        assert facts.video is not None
        return facts.video.frame_rate

    assert rate(Fraction(25), 25.3) == 25
    assert rate(Fraction(25), None) == 25
    assert rate(Fraction(90000), 24.0) == 24
    assert rate(Fraction(50), 24.0) == 24
    assert rate(None, None) is None


def test_the_bit_rate_of_all() -> None:
    chosen, other = Variant(bandwidth_bps=2_000_000, chosen=True), Variant(bandwidth_bps=5_000_000)
    listed = Packaging("HLS", variants=(other, chosen))
    assert source_facts(listed, BOTH).bitrate_bps == 2_000_000
    assert source_facts(listed, BOTH, Shown(bitrate_bps=1_000_000)).bitrate_bps == 1_064_000
    assert source_facts(Packaging(bitrate_bps=7), BOTH, Shown(bitrate_bps=9)).bitrate_bps == 7
    assert source_facts(Packaging(), BOTH).bitrate_bps is None, "of one track it is not known"


def test_the_language_of_the_variant_that_is_played() -> None:
    variants = (Variant("audio", language="fr"), Variant("audio", language="de", chosen=True))
    listed = Packaging("HLS", variants=variants)
    facts = source_facts(listed, replace(BOTH, audio=replace(AAC, language="")))
    assert facts.audio is not None
    assert facts.audio.language == "de"
    assert [language_of(told) for told in ("und", "", "deu", "UND")] == ["", "", "deu", ""]


def test_variants_are_bounded_in_number_and_length() -> None:
    variants = [Variant(codecs=("x" * 9000,) * 99, name="y" * 9000) for _ in range(60)]
    document = source_facts(Packaging.listed("HLS", "", variants, further=5), None).document()
    assert (len(document["variants"]), document["further_variants"]) == (50, 15)
    assert len(str(document)) < 50_000


def test_profiles_of_h264() -> None:
    def profile(extradata: bytes) -> str:
        facts = source_facts(Packaging(), replace(BOTH, video=replace(H264, extradata=extradata)))
        assert facts.video is not None
        return facts.video.profile

    assert profile(b"\x01\x42\x00\x1e") == "Baseline"
    assert profile(b"\x01\x64\x00\x28") == "High"
    assert profile(b"\x01\x4d\x40\x28") == "Main"
    assert profile(b"") == ""


def test_containers_for_people() -> None:
    assert [container_title(name) for name in ("mov", "mpegts", "dts")] == ["MP4", "MPEG-TS", "dts"]
