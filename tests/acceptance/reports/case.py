"""What a case is: how its input is made, and what is right.

A recording that is played whole has each of its pictures once and in order, and the seconds of its sound; a
live source has a run without a hole. For all: no track stands still longer than the source itself, sound and
picture belong together, what the task says is true.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.acceptance.reports.clips import Clips
from tests.acceptance.reports.reading import Reading
from tests.acceptance.reports.rtmp import RtmpServer
from tests.acceptance.reports.site import Site

MOST_OFFSET_S = 0.045
MOST_GAP_S = 0.3
#: A busy machine holds up what arrives a little; media time shows what the relay did.
_MOST_WAIT_S = 0.45
_MOST_DRIFT = 0.01
#: Of a second of sound, what is lost where codecs begin and end, and at seams of clips.
_HEARD_S = 0.8
_TRACKS = ("pictures", "sound")


@dataclass
class Stage:
    """What inputs are made with and served by."""

    clips: Clips
    site: Site
    rtmp: RtmpServer


@dataclass(frozen=True)
class Case:
    """`make` gives the address to play. `pictures` are the numbers of all pictures in order, `sounds` the
    seconds of sound that are heard. With `run_of` it is live: at least so many pictures, each the next of the
    one before, and `sound_s` seconds of tones."""

    name: str
    make: Callable[[Stage], str]
    pictures: Iterable[int] = ()
    sounds: Iterable[int] = ()
    partly: Iterable[int] = ()  #: seconds that are heard in part
    run_of: int = 0
    sound_s: float = 0.0
    steps: tuple[
        int, ...
    ] = ()  #: from one number to the next, beside 1: where a live source loops or is spliced
    lost: int = 0  #: pictures that may be missing: their references are
    seconds: float = 20.0  #: that are watched, if it does not end before
    end: str = "end_of_stream"  #: reason, "*" for any, or "" where it goes on
    words: tuple[str, ...] = ()  #: of what the task says; `|` stands between forms of one
    never: tuple[str, ...] = ("internal error", "damaged")
    gap_s: tuple[float, float] = (0.0, 0.0)  #: of the source itself: pictures, sound
    seams: tuple[int, ...] = ()  #: seconds of the sound that begin behind a splice
    burst_s: float = 0.0  #: of media that the source sends at once
    offset: bool = True  #: sound and picture have one content clock
    paced: bool = True  #: what comes at once is not what the source had kept
    mode: int = 1
    grid: bool = False  #: some of it has to be transcoded, whatever the mode
    idle_s: int = 60
    control: dict[str, Any] = field(default_factory=dict)
    more: Callable[[Reading], Iterable[str]] = lambda _: ()
    report: str = ""  #: the public one that it was made after

    @property
    def transcoded(self) -> bool:
        return self.grid or self.mode == 0

    @property
    def live(self) -> bool:
        return bool(self.run_of or self.sound_s)

    @property
    def start(self) -> dict[str, Any]:
        """Of the call that starts it."""
        size = {"VideoWidth": 320, "VideoHeight": 180, "FrameRate": 25} if self.mode == 0 else {}
        return {"max_idle": self.idle_s, "StreamMode": self.mode, **size, **self.control}


def faults(case: Case, reading: Reading) -> list[str]:
    """What is not right; nothing when all is. Times of arrival are not judged here."""
    media = _live_media if case.live else _whole_media
    found = [*_ending(case, reading), *case.more(reading), *media(case, reading)]
    gaps = zip(_TRACKS, case.gap_s, (reading.picture_gap_s, reading.sound_gap_s), strict=True)
    for track, own_s, gap_s in gaps:
        if gap_s > own_s + MOST_GAP_S:
            found.append(f"no {track} for {gap_s:.2f} s (the source: {own_s:g} s)")
    if not case.live:
        found += _offset(case, reading)
    return found


def delays(case: Case, reading: Reading) -> list[str]:
    """What came late or too fast: it may be the machine, so that it counts when the case is played alone."""
    vague_s, found = reading.recording.late_s + case.burst_s, []
    waits = zip(_TRACKS, case.gap_s, (reading.picture_wait_s, reading.sound_wait_s), strict=True)
    for track, own_s, wait_s in waits:
        if wait_s > own_s + _MOST_WAIT_S + vague_s:
            found.append(f"no {track} arrive for {wait_s:.2f} s (the source: {own_s:g} s)")
    pace = reading.pace
    if case.paced and pace is not None and abs(pace.rate - 1) > _MOST_DRIFT + vague_s / pace.over_s:
        found.append(f"{pace.rate:.3f} s of media in a second")
    if case.live:  # whose clock is that of its arrival
        found += _offset(case, reading)
    return found


def _offset(case: Case, reading: Reading) -> Iterable[str]:
    offset = reading.worst_offset_s(live=case.live, seams=case.seams)
    if case.offset and offset is not None and abs(offset) > MOST_OFFSET_S:
        all_ms = [round(o.late_s * 1000) for o in reading.offsets]
        yield f"sound is {offset * 1000:.0f} ms late ({all_ms})"


def _ending(case: Case, reading: Reading) -> Iterable[str]:
    recording = reading.recording
    document = recording.document
    reason, text = document.get("reason", ""), document.get("reason_text", "")
    if case.end:
        if not recording.over:
            yield f"it does not end ({case.end}), but is {document.get('state')}: {text}"
        elif case.end not in (reason, "*"):
            yield f"it ends as {reason}: {text}"
    elif recording.over:
        yield f"it ends as {reason}: {text}"
    said = recording.texts
    for word in case.words:
        if not any(form.lower() in said.lower() for form in word.split("|")):
            yield f"nobody says {word!r}; last: {text!r}"
    for word in case.never:
        if word in said:
            yield f"{word!r} is said: {text!r}"


def _whole_media(case: Case, reading: Reading) -> Iterable[str]:
    wanted, numbers = list(case.pictures), reading.numbers
    missing, more = Counter(wanted) - Counter(numbers), Counter(numbers) - Counter(wanted)
    # Transcoded are pictures of a grid: one of them may be left out, or stand in two places of it.
    bound = len(wanted) // 30 if case.transcoded else 0
    if missing.total() > max(bound, case.lost):
        yield f"{missing.total()} of {len(wanted)} pictures are missing: {_short(missing)}"
    if more.total() > bound:
        yield f"{more.total()} pictures are too many: {_short(more)}"
    elif (
        not case.transcoded
        and numbers != [n for n in wanted if n not in missing]
        and not missing & Counter(numbers)
    ):
        yield "pictures are out of order"
    if len(numbers) < len(reading.pictures):
        yield f"{len(reading.pictures) - len(numbers)} pictures have no number"
    heard, sounds = reading.seconds_heard(), list(case.sounds)
    if silent := [n for n in set(sounds) if heard.get(n, 0) < _HEARD_S * sounds.count(n)]:
        yield f"silent are the seconds {_short(silent)}"
    if again := [n for n, length in heard.items() if length > sounds.count(n) + (n in case.partly) + 0.2]:
        yield f"heard too long are the seconds {_short(again)}"


def _live_media(case: Case, reading: Reading) -> Iterable[str]:
    numbers = reading.numbers
    if len(numbers) < case.run_of:
        yield f"{len(numbers)} pictures, not {case.run_of}"
    steps = Counter(b - a for a, b in pairwise(numbers))
    odd = {step: count for step, count in steps.items() if step not in (1, *case.steps)}
    # Transcoded are pictures of a grid: one of them may be left out, or stand in two places of it.
    if odd and not (case.transcoded and set(odd) <= {0, 2} and sum(odd.values()) <= len(numbers) // 30):
        yield f"pictures do not follow each other: {odd}"
    if (heard := sum(reading.seconds_heard().values())) < case.sound_s:
        yield f"{heard:.1f} s of sound, not {case.sound_s:g}"


def _short(numbers: Iterable[int]) -> str:
    """1-3,7"""
    runs: list[list[int]] = []
    for n in sorted(numbers):
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    shown = [f"{a}-{b}" if a < b else f"{a}" for a, b in runs[:6]]
    return ",".join([*shown, "…"] if len(runs) > 6 else shown)
