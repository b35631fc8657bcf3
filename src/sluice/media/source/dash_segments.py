"""The segments of one DASH representation (ISO/IEC 23009-1, 5.3.9): templates, timelines, lists, whole files.

No IO and no clock. Times are microseconds of the presentation. Ticks are times of the media's own clock, in
units of which `timescale` are a second.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from xml.etree.ElementTree import Element

from sluice.core.budget import Budget
from sluice.core.errors import unsupported
from sluice.core.limits import LONGEST_ADDRESS
from sluice.media.source.dash_xml import integer, join
from sluice.media.source.hls_playlist import Header, Part, Segment

#: Segments kept of each period of a live presentation: the newest, since we stay close to the edge.
_MOST_LIVE = 300
#: 5.3.9.4.4; $SubNumber$ is for parts of segments, which we request whole.
_FIELD = re.compile(r"\$(?:(RepresentationID)|(Number|Time|Bandwidth)(?:%0(\d{1,2})d)?)?\$", re.ASCII)
_BYTES = re.compile(r"(\d{1,18})-(\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Track:
    """A representation of a period, chosen to be played."""

    bases: tuple[str, ...]  #: base addresses: several places with the same content
    id: str
    bandwidth: int
    start_us: int  #: of the period
    end_us: int | None  #: of the period, None while it is unknown
    levels: tuple[Element, ...]  #: Period, AdaptationSet, Representation


@dataclass(frozen=True, slots=True)
class Window:
    """What a live server has now, where only the clock tells: from its oldest media to the live edge."""

    begin_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Spending:
    """Budgets that all tracks of a manifest share: segments examined, and characters of addresses."""

    examined: Budget
    chars: Budget


def segments_of(track: Track, window: Window | None, budget: Spending) -> Iterator[Segment]:
    """The segments in order, not numbered. `window`: None for a recording. Raises SourceError (permanent)."""
    for name, address in (("SegmentTemplate", _templated), ("SegmentList", _listed)):
        info = _Info.of(track, name)
        if info is not None:
            yield from _Listing(track, info, window).segments(address, budget)
            return
    length_us = (track.end_us or track.start_us) - track.start_us
    # Only the file itself tells where the clock of its media begins.
    yield Segment(0, _part(track.bases), track.start_us, length_us, track.start_us, None, None, whole=True)


def follows_clock(track: Track) -> bool:
    """True where new segments appear with time, False where the manifest has to list each one."""
    info = _Info.of(track, "SegmentTemplate")
    return info is not None and info.child("SegmentTimeline") is None


class _Info:
    """SegmentTemplate or SegmentList with what it inherits from the levels above (5.3.9.1)."""

    def __init__(self, nodes: list[Element]) -> None:
        """`nodes`: the innermost first, which overrides."""
        self._nodes = nodes
        self.timescale = self.number("timescale", 1)
        self.offset = self.number("presentationTimeOffset", 0)
        if self.timescale <= 0:
            raise unsupported("the DASH manifest has a timescale of zero")

    @classmethod
    def of(cls, track: Track, name: str) -> "_Info | None":
        nodes = [node for level in reversed(track.levels) if (node := level.find(name)) is not None]
        return cls(nodes) if nodes else None

    def text(self, name: str) -> str | None:
        return next((text for node in self._nodes if (text := node.get(name)) is not None), None)

    def number(self, name: str, default: int) -> int:
        return integer(self.text(name), default)

    def child(self, name: str) -> Element | None:
        return next((child for node in self._nodes if (child := node.find(name)) is not None), None)

    def children(self, name: str) -> list[Element]:
        return next((found for node in self._nodes if (found := node.findall(name))), [])


@dataclass(frozen=True, slots=True)
class _SegmentRow:
    """`count` consecutive segments of `each` ticks, the first at tick `begin`."""

    begin: int
    each: int
    count: int


#: The address of the segment with this index that begins at this tick.
_Address = Callable[["_Listing", int, int], Part]


class _Listing:
    """The segments of a template or a list: first as rows of equal segments, then each with its address."""

    def __init__(self, track: Track, info: _Info, window: Window | None) -> None:
        self.track, self.info, self._window = track, info, window
        self.urls = info.children("SegmentURL")
        self.start_number = info.number("startNumber", 1)
        self._timeline = info.child("SegmentTimeline")
        self._named = self._timeline is not None or bool(self.urls)

    def segments(self, address: _Address, budget: Spending) -> Iterator[Segment]:
        track, info = self.track, self.info
        header = _header(track, info)
        shift_us = track.start_us - self._us(info.offset)
        rows = [self._up_to_the_end(row) for row in self._rows()]
        for index, begin, each in self._newest(rows):
            budget.examined.spend()
            start_us = self._us(begin) + shift_us
            end_us = start_us + self._us(each)
            if track.end_us is not None:
                end_us = min(end_us, track.end_us)
            if end_us <= start_us or self._is_gone(end_us):
                continue
            part = address(self, index, begin)
            budget.chars.spend(len(part.url) + sum(map(len, part.others)))
            yield Segment(
                sequence=0,
                part=part,
                start_us=start_us,
                duration_us=end_us - start_us,
                run=track.start_us,  # a period can be read as one file
                key=None,
                header=header,
                shift_us=shift_us,
                # The end of the period is that of its longest track.
                optional=not self._named and (self._window is not None or end_us == track.end_us),
            )

    def _up_to_the_end(self, row: _SegmentRow) -> _SegmentRow:
        """The row without segments that would begin behind the end of the period."""
        if self.track.end_us is None:
            return row
        length = -(-(self.track.end_us - self.track.start_us) * self.info.timescale // 1_000_000)
        fitting = -((row.begin - self.info.offset - length) // row.each)
        return replace(row, count=max(0, min(row.count, fitting)))

    def _is_gone(self, end_us: int) -> bool:
        """Whether the server no longer has a segment: the time tells, unless a timeline or a list names
        it."""
        return self._window is not None and not self._named and end_us <= self._window.begin_us

    def _newest(self, rows: list[_SegmentRow]) -> Iterator[tuple[int, int, int]]:
        """Index of each segment, its beginning and length in ticks; of a live source only the last ones."""
        total = sum(row.count for row in rows)
        skipped = max(0, total - _MOST_LIVE) if self._window is not None else 0
        index = 0
        for row in rows:
            for n in range(max(0, skipped - index), row.count):
                yield index + n, row.begin + n * row.each, row.each
            index += row.count

    def _rows(self) -> list[_SegmentRow]:
        if self._timeline is not None:
            return self._told(self._timeline.findall("S"))
        each = self.info.number("duration", 0)
        if each <= 0:
            if len(self.urls) != 1:
                raise unsupported("the DASH manifest does not tell how long its segments are")
            each = max(1, self._end_tick() - self.info.offset)
        begin = self.info.offset
        if self.urls:
            # A live list leaves out segments that are gone; the number of its first one tells how many.
            gone = max(0, self.start_number - 1) if self._window is not None else 0
            return [_SegmentRow(begin + gone * each, each, len(self.urls))]
        count = self._fitting(begin, each, self._end_tick())
        last = self.info.number("endNumber", self.start_number + count - 1)
        return [_SegmentRow(begin, each, max(0, min(count, last - self.start_number + 1)))]

    def _told(self, entries: list[Element]) -> list[_SegmentRow]:
        """5.3.9.6: `t` is the beginning, where it does not follow from the entry before, `d` the length, `r`
        how many further segments have it."""
        rows: list[_SegmentRow] = []
        at = 0
        for entry, following in pairwise([*entries, None]):
            assert entry is not None  # noqa: S101 - only the last is none
            at = integer(entry.get("t"), at)
            each, repeat = integer(entry.get("d"), 0), integer(entry.get("r"), 0)
            if each <= 0:
                raise unsupported("the DASH manifest has a segment without a length")
            if repeat < 0:  # up to the next entry, or to the end
                told = following.get("t") if following is not None else None
                repeat = self._fitting(at, each, integer(told, 0) if told else self._end_tick()) - 1
            rows.append(_SegmentRow(at, each, repeat + 1))
            at += each * (repeat + 1)
        return rows

    def _fitting(self, begin: int, each: int, end: int) -> int:
        """How many segments there are up to `end`: the last one of a recording may be shorter, of a live
        source all must be complete."""
        return max(0, (end - begin) // each if self._window is not None else -(-(end - begin) // each))

    def _end_tick(self) -> int:
        ends = [self.track.end_us, self._window.end_us if self._window is not None else None]
        known = [end_us for end_us in ends if end_us is not None]
        if not known:
            raise unsupported("the DASH manifest does not tell how long it is")
        length = (min(known) - self.track.start_us) * self.info.timescale
        return self.info.offset + (
            length // 1_000_000 if self._window is not None else -(-length // 1_000_000)
        )

    def _us(self, ticks: int) -> int:
        return ticks * 1_000_000 // self.info.timescale


def _templated(of: _Listing, index: int, begin: int) -> Part:
    media = of.info.text("media")
    if media is None:
        raise unsupported("the DASH manifest has a segment template without an address")
    return _part(of.track.bases, _fill(media, of.track, of.start_number + index, begin))


def _listed(of: _Listing, index: int, begin: int) -> Part:
    if index >= len(of.urls):
        raise unsupported("the DASH manifest has more segments in its timeline than in its list")
    return _part(of.track.bases, of.urls[index].get("media"), of.urls[index].get("mediaRange"))


def _header(track: Track, info: _Info) -> Header | None:
    """The initialization section; none where each segment can stand alone, as in MPEG-TS."""
    template = info.text("initialization")
    if template is not None:
        return Header(_part(track.bases, _fill(template, track, 0, 0)))
    node = info.child("Initialization")
    return None if node is None else Header(_part(track.bases, node.get("sourceURL"), node.get("range")))


def _part(bases: tuple[str, ...], url: str | None = None, span: str | None = None) -> Part:
    first, *others = [join(base, url) for base in bases]
    if span is None:
        return Part(first, others=tuple(others))
    found = _BYTES.fullmatch(span.strip())
    if found is None or int(found[2]) < int(found[1]):
        raise unsupported(f"the DASH manifest has a malformed byte range: {span[:40]!r}")
    return Part(first, int(found[1]), int(found[2]) - int(found[1]) + 1, tuple(others))


def _fill(template: str, track: Track, number: int, time: int) -> str:
    if max(len(template), len(track.id)) > LONGEST_ADDRESS:
        raise unsupported(f"the DASH manifest has an address of more than {LONGEST_ADDRESS} characters")
    values = {"Number": number, "Time": time, "Bandwidth": track.bandwidth}

    def value(field: re.Match[str]) -> str:
        if field[1]:
            return track.id
        return f"{values[field[2]]:0{int(field[3] or 1)}d}" if field[2] else "$"

    return _FIELD.sub(value, template)
