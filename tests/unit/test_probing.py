"""What a probe tells of a mode: the plan, what viewers would get, or why it cannot be played so."""

from dataclasses import replace
from fractions import Fraction

from sluice.core.plan import AudioTrack, Probe, VideoTrack
from sluice.core.probing import mode_document
from sluice.core.source_facts import Packaging, Shown, source_facts
from sluice.core.tasks import MediaType, RelaySpec, StreamMode

H264 = VideoTrack("h264", b"", 1920, 1080, has_b_frames=False, frame_rate=Fraction(25))
AAC = AudioTrack("aac", b"", 44100, 2)
BOTH = Probe(H264, AAC, live=False, seekable=True, duration_us=10_000_000)
COPY = RelaySpec("http://h/", stream_mode=StreamMode.COPY)
OPUS = {"codec": "opus", "sample_rate": 48000, "channels": 2, "bitrate_kbps": 128}


def of(spec: RelaySpec, probe: Probe | None = BOTH) -> dict[str, object]:
    return mode_document(spec, probe, source_facts(Packaging(), probe, Shown(bitrate_bps=3_000_000)))


def test_a_copy_is_as_the_source() -> None:
    document = of(COPY)
    plan = document["plan"]
    assert isinstance(plan, dict)
    assert plan["video"] == {"action": "copy", "why": "source is H.264 without B-frames"}
    video = {"codec": "h264", "width": 1920, "height": 1080, "frame_rate": 25.0, "bitrate_kbps": 3000}
    assert document["played"] == {"video": video, "audio": OPUS}
    assert document["failure"] is None


def test_what_is_transcoded_has_the_size_and_rate_that_were_asked_for() -> None:
    video = {"codec": "h264", "width": 640, "height": 360, "frame_rate": 15.0, "bitrate_kbps": 500}
    assert of(RelaySpec("http://h/", width=640, height=360, bitrate_kbps=500))["played"] == {
        "video": video,
        "audio": OPUS,
    }


def test_without_an_asked_size_it_is_the_upright_picture() -> None:
    turned = replace(BOTH, video=replace(H264, width=719, rotation=90, pixel_aspect=Fraction(4, 3)))
    spec = RelaySpec("http://h/", frame_rate=30)
    video = {"codec": "h264", "width": 1080, "height": 958, "frame_rate": 25.0, "bitrate_kbps": None}
    assert of(spec, turned)["played"] == {"video": video, "audio": OPUS}


def test_what_is_left_out_is_null() -> None:
    assert of(replace(COPY, media_type=MediaType.AUDIO))["played"] == {"video": None, "audio": OPUS}
    opus = AudioTrack("opus", b"", 48000, 1)
    sound = {"codec": "opus", "sample_rate": 48000, "channels": 1, "bitrate_kbps": None}
    assert of(COPY, replace(BOTH, video=None, audio=opus))["played"] == {"video": None, "audio": sound}


def test_what_cannot_be_played_says_why() -> None:
    document = of(COPY, replace(BOTH, video=replace(H264, codec="hevc")))
    assert document == {
        "plan": None,
        "played": None,
        "failure": {
            "culprit": "source",
            "reason": "source_unsupported",
            "message": "the source's video is H.265 (HEVC); only H.264 can be copied",
            "transient": False,
        },
    }


def test_nothing_is_known() -> None:
    assert of(COPY, None) == {"plan": None, "played": None, "failure": None}
