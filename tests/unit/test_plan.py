"""Probe, then decide: what the plan says for each kind of source and request."""

from dataclasses import replace
from typing import Any

import pytest

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.plan import AudioTrack, Probe, TrackAction, VideoTarget, VideoTrack, make_plan
from sluice.core.tasks import MediaType, RelaySpec, StreamMode

H264 = VideoTrack("h264", b"\x01", 1280, 720, has_b_frames=False)
AAC = AudioTrack("aac", b"\x12\x10", 44100, 2)
BOTH = Probe(H264, AAC, live=False, seekable=True, duration_us=10_000_000)
COPY = RelaySpec("https://example.org/a.mp4", stream_mode=StreamMode.COPY)


def refusal(spec: RelaySpec, probe: Probe) -> str:
    with pytest.raises(SourceError) as caught:
        make_plan(spec, probe)
    assert caught.value.reason is Reason.SOURCE_UNSUPPORTED
    assert not caught.value.transient
    return str(caught.value)


def test_h264_without_b_frames_is_copied_and_audio_becomes_opus() -> None:
    assert make_plan(COPY, BOTH).document() == {
        "video": {"action": "copy", "why": "source is H.264 without B-frames"},
        "audio": {"action": "transcode", "why": "rooms carry Opus, source is AAC"},
    }


@pytest.mark.parametrize(
    ("profile", "action", "why"),
    [
        (66, TrackAction.COPY, "source is H.264 without B-frames"),
        (77, TrackAction.COPY, "source is H.264 without B-frames"),
        (100, TrackAction.COPY, "source is H.264 without B-frames"),
        (110, TrackAction.TRANSCODE, "source is H.264 High 10, which not all browsers show"),
        (244, TrackAction.TRANSCODE, "source is H.264 High 4:4:4 Predictive, which not all browsers show"),
        (44, TrackAction.TRANSCODE, "source is H.264 44, which not all browsers show"),
    ],
)
def test_h264_that_not_all_browsers_show_is_converted(profile: int, action: TrackAction, why: str) -> None:
    track = replace(H264, extradata=bytes([1, profile, 0, 31]))
    plan = make_plan(COPY, replace(BOTH, video=track))
    assert (plan.video.action, plan.video.why) == (action, why)


def test_a_source_without_audio_plays_its_video() -> None:
    plan = make_plan(COPY, replace(BOTH, audio=None))
    assert (plan.video.action, plan.audio.action) == (TrackAction.COPY, TrackAction.NONE)
    assert plan.audio.why == "source has no audio"


def test_a_source_without_video_plays_its_audio_in_either_mode() -> None:
    probe = replace(BOTH, video=None)
    for spec in (COPY, replace(COPY, stream_mode=StreamMode.TRANSCODE)):
        plan = make_plan(spec, probe)
        assert (plan.video.action, plan.audio.action) == (TrackAction.NONE, TrackAction.TRANSCODE)
        assert plan.video.why == "source has no video"


def test_audio_alone_was_asked_for() -> None:
    plan = make_plan(RelaySpec("https://example.org/a.mp4", media_type=MediaType.AUDIO), BOTH)
    assert (plan.video.action, plan.video.why) == (TrackAction.NONE, "only audio was asked for")
    assert plan.audio.action is TrackAction.TRANSCODE


def test_video_alone_was_asked_for() -> None:
    plan = make_plan(replace(COPY, media_type=MediaType.VIDEO), BOTH)
    assert plan.video.action is TrackAction.COPY
    assert (plan.audio.action, plan.audio.why) == (TrackAction.NONE, "only video was asked for")


@pytest.mark.parametrize(
    ("media_type", "probe", "text"),
    [
        (MediaType.AUDIO, replace(BOTH, audio=None), "only audio was asked for, but the source has none"),
        (MediaType.VIDEO, replace(BOTH, video=None), "only video was asked for, but the source has none"),
        (MediaType.AUDIO_VIDEO, replace(BOTH, video=None, audio=None), "neither video nor audio"),
    ],
)
def test_a_track_that_was_asked_for_and_is_missing(media_type: MediaType, probe: Probe, text: str) -> None:
    assert text in refusal(replace(COPY, media_type=media_type), probe)


def test_b_frames_are_transcoded_at_the_size_of_the_source() -> None:
    probe = replace(BOTH, video=replace(H264, has_b_frames=True))
    plan = make_plan(replace(COPY, width=64, height=64), probe)
    assert plan.video.action is TrackAction.TRANSCODE
    assert "B-frames" in plan.video.why
    assert plan.target == VideoTarget(None, None, None, None)


def test_another_codec_is_refused_by_its_name() -> None:
    assert "H.265 (HEVC)" in refusal(COPY, replace(BOTH, video=replace(H264, codec="hevc")))
    assert "theora" in refusal(COPY, replace(BOTH, video=replace(H264, codec="theora")))


@pytest.mark.parametrize("mode", StreamMode)
def test_pictures_that_are_too_large_are_refused_with_their_size(mode: StreamMode) -> None:
    spec = replace(COPY, stream_mode=mode)
    make_plan(spec, replace(BOTH, video=replace(H264, width=2048, height=8192)))
    assert "8192x8192" in refusal(spec, replace(BOTH, video=replace(H264, width=8192, height=8192)))


@pytest.mark.parametrize(("rate", "channels"), [(1, 2), (4_000_000_000, 2), (48000, 64)])
def test_sound_that_cannot_be_resampled_is_refused(rate: int, channels: int) -> None:
    sound = AudioTrack("pcm_s16le", b"", rate, channels)
    assert f"{rate} Hz and {channels} channels" in refusal(COPY, replace(BOTH, audio=sound))
    make_plan(COPY, replace(BOTH, audio=replace(sound, sample_rate=0, channels=0)))  # not known yet


def test_video_that_nobody_asked_for_is_not_judged() -> None:
    probe = replace(BOTH, video=replace(H264, codec="hevc", has_b_frames=True))
    assert make_plan(replace(COPY, media_type=MediaType.AUDIO), probe).video.action is TrackAction.NONE


def test_video_is_transcoded_to_what_was_asked_for() -> None:
    asked = replace(COPY, width=640, height=480, frame_rate=20, bitrate_kbps=500)
    plan = make_plan(replace(asked, stream_mode=StreamMode.TRANSCODE), BOTH)
    assert plan.video.action is TrackAction.TRANSCODE
    assert plan.target == VideoTarget(640, 480, 20, 500)


def test_opus_is_copied() -> None:
    plan = make_plan(COPY, replace(BOTH, audio=replace(AAC, codec="opus")))
    assert plan.audio.action is TrackAction.COPY


@pytest.mark.parametrize(("codec", "title"), [("mp3float", "MP3"), ("vorbis", "vorbis")])
def test_the_plan_names_the_audio_codec_for_people(codec: str, title: str) -> None:
    plan = make_plan(COPY, replace(BOTH, audio=replace(AAC, codec=codec)))
    assert plan.audio.why == f"rooms carry Opus, source is {title}"


@pytest.mark.parametrize(
    ("changes", "channels", "why"),
    [
        ({"volume": 30}, 2, "source is Opus, but its volume is 30 %"),
        ({"normalize": True}, 2, "source is Opus, but its loudness is normalised"),
        ({}, 6, "source is Opus, but has 6 channels"),
    ],
)
def test_opus_that_cannot_stay_as_it_is(changes: dict[str, Any], channels: int, why: str) -> None:
    probe = replace(BOTH, audio=replace(AAC, codec="opus", channels=channels))
    audio = make_plan(replace(COPY, **changes), probe).audio
    assert (audio.action, audio.why) == (TrackAction.TRANSCODE, why)
