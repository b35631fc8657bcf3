"""Black, frozen and silent sources through the pipes: they are named within 6 s, and good ones are not.

The media passes as fast as it can: what is seen of it is judged by its own time.
"""

import subprocess
from pathlib import Path

import pytest

from sluice.core.plan import TrackAction
from sluice.core.tasks import StreamMode
from tests.integration.signals import Story, story_of

#: Nothing is named before it has lasted for so long, and by then it is.
LASTS_S, NAMED_S = 5.0, 6.0
BEGINS_S = 3.0
_MOVING = "testsrc2=size=320x180:rate=25"
_STILL = f"{_MOVING},loop=loop=-1:size=1:start={round(BEGINS_S * 25)}"
_TONE = "sine=frequency=440:sample_rate=48000"
_QUIET = f"{_TONE},volume=0:enable='gte(t,{BEGINS_S})'"
_SECONDS = 11
_PLAIN = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "0")
_ENCODERS = {
    "plain": _PLAIN,
    "short groups": (*_PLAIN, "-g", "25"),
    "live, of a steady bitrate": (
        *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"),
        *("-b:v", "800k", "-g", "25", "-sc_threshold", "0"),
    ),
    "B-frames": ("-c:v", "libx264", "-preset", "veryfast", "-bf", "2"),
}
_BOTH = [StreamMode.COPY, StreamMode.TRANSCODE]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("signals")


def clip(folder: Path, name: str, picture: str, sound: str, *options: str) -> Path:
    """Made once; the name tells what it is."""
    path = folder / name
    if not path.exists():
        inputs = [part for source in (picture, sound) if source for part in ("-f", "lavfi", "-i", source)]
        command = ["ffmpeg", "-v", "error", *inputs, "-t", str(_SECONDS), *options, "-pix_fmt", "yuv420p"]
        if not picture:
            command = command[:-2]
        subprocess.run([*command, str(path)], check=True, stdin=subprocess.DEVNULL)
    return path


def names(story: Story) -> list[str]:
    return [state for _, state in story.video]


@pytest.mark.parametrize("mode", _BOTH, ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("encoder", _ENCODERS)
def test_a_frozen_picture_is_named(folder: Path, encoder: str, mode: StreamMode) -> None:
    path = clip(folder, f"frozen-{encoder}.mp4", _STILL, "", *_ENCODERS[encoder])
    story = story_of(path, mode)
    assert names(story) == ["ok", "frozen"]
    assert BEGINS_S + LASTS_S <= story.video[1][0] <= BEGINS_S + NAMED_S
    copied = mode is StreamMode.COPY and encoder != "B-frames"
    assert (story.plan.video.action is TrackAction.COPY) == copied


@pytest.mark.parametrize("mode", _BOTH, ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("encoder", _ENCODERS)
def test_a_black_picture_is_named(folder: Path, encoder: str, mode: StreamMode) -> None:
    picture = "color=black:size=320x180:rate=25"
    path = clip(folder, f"black-{encoder}.mp4", picture, "", *_ENCODERS[encoder])
    story = story_of(path, mode)
    assert names(story) == ["ok", "black"]
    assert LASTS_S <= story.video[1][0] <= NAMED_S


@pytest.mark.parametrize("mode", _BOTH, ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("encoder", _ENCODERS)
def test_a_picture_that_moves_is_not_named(folder: Path, encoder: str, mode: StreamMode) -> None:
    path = clip(folder, f"good-{encoder}.mp4", _MOVING, _TONE, *_ENCODERS[encoder], "-c:a", "aac")
    story = story_of(path, mode)
    assert names(story) == ["ok"]
    assert [state for _, state in story.audio] == ["ok"]
    assert story.level_dbfs == pytest.approx(-24.1, abs=0.5), "a sine of an eighth, on two channels"


@pytest.mark.parametrize("mode", _BOTH, ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize(
    "picture",
    [
        # A camera that sees a room in which nothing happens: it rustles.
        f"{_STILL.replace(f'start={round(BEGINS_S * 25)}', 'start=1')},noise=alls=8:allf=t",
        # Every picture twice, as where a stream of 12 pictures a second is sent as one of 25.
        "testsrc2=size=320x180:rate=12,fps=25",
        # A pointer that wanders over a slide.
        "color=gray:size=320x180:rate=25[slide];color=white:size=8x12:rate=25[pointer];"
        "[slide][pointer]overlay=x='mod(t*40,300)':y=80",
        # A slide every four seconds.
        "testsrc2=size=320x180:rate=1/4,fps=25",
        # Dark, but something is there.
        "testsrc2=size=320x180:rate=25,lutyuv=y=val/4",
    ],
    ids=["rustles", "twice", "pointer", "slides", "dark"],
)
def test_what_hardly_moves_is_not_named(
    folder: Path, request: pytest.FixtureRequest, picture: str, mode: StreamMode
) -> None:
    name = request.node.callspec.id.split("-")[0]
    assert names(story_of(clip(folder, f"{name}.mp4", picture, "", *_PLAIN, "-g", "50"), mode)) == ["ok"]


_SOUNDS = {
    "aac": ("aac.mp4", ("-c:a", "aac")),
    "mp3": ("mp3.mp3", ("-c:a", "libmp3lame")),
    "opus": ("opus.ogg", ("-c:a", "libopus", "-ac", "2")),
    "opus of a steady bitrate": ("cbr.ogg", ("-c:a", "libopus", "-ac", "2", "-vbr", "off")),
}


@pytest.mark.parametrize("codec", _SOUNDS)
def test_silence_is_named(folder: Path, codec: str) -> None:
    file, options = _SOUNDS[codec]
    story = story_of(clip(folder, f"silent-{file}", "", _QUIET, *options), StreamMode.COPY)
    assert [state for _, state in story.audio] == ["ok", "silent"]
    assert BEGINS_S + LASTS_S - 0.05 <= story.audio[1][0] <= BEGINS_S + NAMED_S
    assert story.video == []
    assert (story.plan.audio.action is TrackAction.COPY) == codec.startswith("opus")


@pytest.mark.parametrize("codec", _SOUNDS)
def test_short_beeps_are_no_silence(folder: Path, codec: str) -> None:
    file, options = _SOUNDS[codec]
    beeps = "aevalsrc='0.3*sin(2000*PI*t)*lt(mod(t,1),0.08)':sample_rate=48000"
    story = story_of(clip(folder, f"beeps-{file}", "", beeps, *options), StreamMode.COPY)
    assert [state for _, state in story.audio] == ["ok"]


def test_the_level_is_what_ffmpeg_measures(folder: Path) -> None:
    noise = "anoisesrc=color=pink:amplitude=0.3:sample_rate=48000:seed=1"
    for name, codec in (("noise.mp3", "libmp3lame"), ("noise.ogg", "libopus")):
        path = clip(folder, name, "", noise, "-c:a", codec, "-ac", "2")
        told = subprocess.run(
            ["ffmpeg", "-i", str(path), "-af", "volumedetect", "-f", "null", "-"],
            check=True,
            capture_output=True,
            text=True,
        ).stderr
        mean = float(told.split("mean_volume: ")[1].split(" dB")[0])
        assert story_of(path, StreamMode.COPY).level_dbfs == pytest.approx(mean, abs=1)


def test_a_stream_that_moves_is_not_decoded_to_be_looked_at(folder: Path) -> None:
    path = clip(folder, "good-plain.mp4", _MOVING, _TONE, *_PLAIN, "-c:a", "aac")
    assert story_of(path, StreamMode.COPY).looking_s == 0
