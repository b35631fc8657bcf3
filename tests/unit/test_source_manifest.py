"""DASH manifests: what is chosen, which segments they name, and what is refused."""

import pytest

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.media.packets import TrackKind
from sluice.media.source.dash_manifest import Manifest, parse_manifest
from sluice.media.source.hls_playlist import Header, Part, Segment

BASE = "https://host.example/live/index.mpd?token=1"
S = 1_000_000
VIDEO, AUDIO = TrackKind.VIDEO, TrackKind.AUDIO
TIMELINE = "<SegmentTimeline>{}</SegmentTimeline>"
TEN = '<S d="1" r="9"/>'
RECORDED = 'type="static" mediaPresentationDuration="PT10.5S"'


def mpd(periods: str, attributes: str = RECORDED) -> str:
    return f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" {attributes}>{periods}</MPD>'


def video(inside: str, group: str = "", rep: str = 'id="v" bandwidth="9" codecs="avc1.42c00d"') -> str:
    """A period's only set with one representation; `inside` stands in the set."""
    return (
        f'<AdaptationSet mimeType="video/mp4" {group}>{inside}<Representation {rep}></Representation>'
        "</AdaptationSet>"
    )


def parse(periods: str, attributes: str = RECORDED) -> Manifest:
    return parse_manifest(mpd(periods, attributes), BASE)


def segments(inside: str, period: str = "", group: str = "") -> list[Segment]:
    """Of a recording with one picture."""
    return parse(f"<Period {period}>{video(inside, group)}</Period>").segments(VIDEO, 0)


def live(
    inside: str, now_s: float, attributes: str = 'timeShiftBufferDepth="PT10S"', period: str = 'start="PT0S"'
) -> list[Segment]:
    manifest = parse(
        f"<Period {period}>{video(inside)}</Period>",
        f'type="dynamic" availabilityStartTime="2026-01-01T00:00:00Z" {attributes}',
    )
    return manifest.segments(VIDEO, manifest.available_at_us + int(now_s * S))


def urls(found: list[Segment]) -> list[str]:
    return [segment.part.url.rpartition("/")[2] for segment in found]


def spans(found: list[Segment]) -> list[tuple[float, float]]:
    return [(segment.start_us / S, segment.duration_us / S) for segment in found]


class TestSegments:
    def test_a_template_with_a_length_fills_the_period(self) -> None:
        found = segments(
            '<SegmentTemplate timescale="10" duration="40" startNumber="7" presentationTimeOffset="100" '
            'initialization="$RepresentationID$/init.mp4" media="$RepresentationID$/$Number%03d$-$$.m4s"/>'
        )
        assert urls(found) == ["007-$.m4s", "008-$.m4s", "009-$.m4s"]
        assert found[0].part == Part("https://host.example/live/v/007-$.m4s")
        assert found[0].header == Header(Part("https://host.example/live/v/init.mp4"))
        assert spans(found) == [(0, 4), (4, 4), (8, 2.5)]
        assert {segment.shift_us for segment in found} == {-10 * S}

    def test_a_timeline_tells_each_segment(self) -> None:
        found = segments(
            '<SegmentTemplate timescale="10" media="$Time$-$Bandwidth$.m4s" presentationTimeOffset="50">'
            '<SegmentTimeline><S t="50" d="20" r="1"/><S d="30"/><S t="130" d="10" r="-1"/>'
            "</SegmentTimeline></SegmentTemplate>"
        )
        assert urls(found) == ["50-9.m4s", "70-9.m4s", "90-9.m4s", "130-9.m4s", "140-9.m4s", "150-9.m4s"]
        assert spans(found)[:4] == [(0, 2), (2, 2), (4, 3), (8, 1)]
        assert spans(found)[-1] == (10, 0.5)

    def test_an_open_repetition_goes_on_to_the_next_entry(self) -> None:
        found = segments(
            '<SegmentTemplate media="$Time$"><SegmentTimeline><S t="0" d="2" r="-1"/><S t="6" d="1"/>'
            "</SegmentTimeline></SegmentTemplate>"
        )
        assert urls(found) == ["0", "2", "4", "6"]

    def test_outer_levels_are_inherited_and_inner_ones_override(self) -> None:
        found = parse(
            "<BaseURL>/cdn/</BaseURL><Period><BaseURL>p/</BaseURL>"
            '<SegmentTemplate duration="4" timescale="1" media="never"/>'
            '<AdaptationSet contentType="video"><BaseURL>a/</BaseURL>'
            '<SegmentTemplate media="$Number$.m4s" startNumber="0"/>'
            '<Representation id="1"><BaseURL>https://other.example/r/</BaseURL></Representation>'
            "</AdaptationSet></Period>"
        ).segments(VIDEO, 0)
        assert found[2].part.url == "https://other.example/r/2.m4s"

    def test_a_list_names_segments_or_ranges(self) -> None:
        found = segments(
            '<BaseURL>all.mp4</BaseURL><SegmentList duration="5"><Initialization range="0-799"/>'
            '<SegmentURL mediaRange="800-1799"/><SegmentURL mediaRange="1800-1999"/>'
            '<SegmentURL media="x.mp4"/></SegmentList>'
        )
        url = "https://host.example/live/all.mp4"
        assert [segment.part for segment in found[:2]] == [Part(url, 800, 1000), Part(url, 1800, 200)]
        assert found[0].header == Header(Part(url, 0, 800))
        assert urls(found)[2] == "x.mp4"
        assert spans(found) == [(0, 5), (5, 5), (10, 0.5)]

    def test_without_segments_the_file_is_one(self) -> None:
        (found,) = segments('<BaseURL>clip.mp4</BaseURL><SegmentBase indexRange="0-99"/>')
        assert found.whole
        assert (found.part, found.duration_us) == (Part("https://host.example/live/clip.mp4"), 10_500_000)

    def test_periods_follow_each_other(self) -> None:
        template = '<SegmentTemplate duration="2" media="{}$Number$"/>'
        found = parse(
            f'<Period duration="PT4S">{video(template.format("a"))}</Period><Period id="no media"/>'
            f'<Period start="PT6S">{video(template.format("b"))}</Period>'
        ).segments(VIDEO, 0)
        assert urls(found) == ["a1", "a2", "b1", "b2", "b3"]
        assert [segment.start_us // S for segment in found] == [0, 2, 6, 8, 10]
        assert len({segment.run for segment in found}) == 2

    def test_several_bases_are_places_with_the_same(self) -> None:
        (found,) = segments(
            "<BaseURL>http://a.example/x/</BaseURL><BaseURL> b/ </BaseURL><BaseURL/>"
            '<SegmentList><SegmentURL media="1.m4s" mediaRange="0-9"/></SegmentList>'
        )
        assert found.part == Part("http://a.example/x/1.m4s", 0, 10, ("https://host.example/live/b/1.m4s",))

    def test_bases_do_not_multiply(self) -> None:
        many = "".join(f"<BaseURL>{n}/</BaseURL>" for n in range(100))
        (found,) = parse(
            f"{many}<Period>{many}<AdaptationSet mimeType='video/mp4'>{many}"
            "<Representation/></AdaptationSet></Period>"
        ).segments(VIDEO, 0)
        assert len(found.part.others) < 10

    @pytest.mark.parametrize(
        ("timeline", "right"),
        [
            ('<S t="0" d="2" r="99999999999999999999"/>', ["0", "2", "4", "6", "8", "10"]),
            ('<S t="0" d="2" r="1"/><S t="50" d="2" r="9999999999"/><S t="6" d="4"/>', ["0", "2", "6"]),
        ],
    )
    def test_what_lies_behind_the_end_is_not_counted(self, timeline: str, right: list[str]) -> None:
        found = segments(f'<SegmentTemplate media="$Time$">{TIMELINE.format(timeline)}</SegmentTemplate>')
        assert urls(found) == right

    def test_wide_numbers(self) -> None:
        begin = 2**64 - 20
        found = segments(
            f'<SegmentTemplate media="$Time$" presentationTimeOffset="{begin}">'
            f'{TIMELINE.format(f"""<S t="{begin}" d="6" r="1"/>""")}</SegmentTemplate>'
        )
        assert spans(found) == [(0, 6), (6, 4.5)]


class TestLive:
    TEMPLATE = '<SegmentTemplate duration="2" media="$Number$"/>'

    def test_the_clock_tells_what_is_there(self) -> None:
        # The one that began at 20 s is done at 22 s; what ended before 11 s is gone.
        assert urls(live(self.TEMPLATE, 21)) == ["6", "7", "8", "9", "10"]
        assert urls(live(self.TEMPLATE, 22)) == ["7", "8", "9", "10", "11"]
        assert live(self.TEMPLATE, 1.9) == []

    def test_a_later_period_begins_at_its_time(self) -> None:
        assert live(self.TEMPLATE, 101, period='start="PT100S"') == []
        assert spans(live(self.TEMPLATE, 104, period='start="PT100S"')) == [(100, 2), (102, 2)]

    def test_a_timeline_is_taken_at_its_word(self) -> None:
        inside = (
            '<SegmentTemplate media="$Number$" startNumber="5"><SegmentTimeline><S t="900" d="3" r="2"/>'
            "</SegmentTimeline></SegmentTemplate>"
        )
        assert urls(live(inside, 5)) == ["5", "6", "7"]

    def test_of_a_long_window_the_newest_are_kept(self) -> None:
        inside = (
            '<SegmentTemplate media="$Number$"><SegmentTimeline><S t="0" d="2" r="1000000"/>'
            "</SegmentTimeline></SegmentTemplate>"
        )
        found = live(inside, 5, attributes="")
        assert len(found) < 1000
        assert found[-1].part.url.endswith("/1000001")
        assert found[-1].start_us == 2_000_000 * S

    def test_a_list_is_placed_by_its_first_number(self) -> None:
        inside = (
            '<SegmentList duration="2" startNumber="{}"><SegmentURL media="a"/><SegmentURL media="b"/>'
            "</SegmentList>"
        )
        assert spans(live(inside.format(1), 5)) == [(0, 2), (2, 2)]
        assert spans(live(inside.format(4), 11)) == [(6, 2), (8, 2)]

    def test_what_it_tells_about_itself(self) -> None:
        manifest = parse(
            '<Location>next.mpd</Location><UTCTiming schemeIdUri="u" value="w"/>'
            f"<Period>{video(self.TEMPLATE)}</Period>",
            'type="dynamic" availabilityStartTime="1970-01-01T01:00:00.5+01:00" '
            'timeShiftBufferDepth="PT1M30.5S" suggestedPresentationDelay="P1DT1H"',
        )
        assert (manifest.live, manifest.follows_clock()) == (True, True)
        assert manifest.location == "https://host.example/live/next.mpd"
        assert (manifest.depth_us, manifest.delay_us) == (90_500_000, 90_000 * S)
        assert manifest.available_at_us == 500_000
        assert manifest.clocks == (("u", "w"),)


class TestChoice:
    @staticmethod
    def _chosen(kind: TrackKind, *groups: str) -> str:
        return parse(f"<Period>{''.join(groups)}</Period>").segments(kind, 0)[0].part.url.rpartition("/")[2]

    @staticmethod
    def _group(attributes: str, *representations: str, inside: str = "") -> str:
        body = "".join(f"<Representation {text}/>" for text in representations)
        template = '<SegmentTemplate duration="2" media="$RepresentationID$"/>'
        return f"<AdaptationSet {attributes}>{inside}{template}{body}</AdaptationSet>"

    def test_the_best_picture_is_the_one_of_the_highest_bandwidth(self) -> None:
        low, high = 'id="low" bandwidth="1"', 'id="high" bandwidth="2"'
        assert self._chosen(VIDEO, self._group('mimeType="video/mp4" codecs="avc1.4d"', low, high)) == "high"

    def test_h264_comes_before_what_must_be_decoded(self) -> None:
        hevc = self._group('mimeType="video/mp4" codecs="hvc1.1"', 'id="hevc" bandwidth="9"')
        avc = self._group('mimeType="video/mp4"', 'id="avc" bandwidth="1" codecs="avc1.4d401f,mp4a.40.2"')
        assert self._chosen(VIDEO, hevc, avc) == "avc"
        assert self._chosen(VIDEO, hevc) == "hevc"

    def test_the_first_language_and_the_main_sound(self) -> None:
        kind = 'contentType="audio" codecs="mp4a.40.2"'
        groups = [
            self._group(f'{kind} lang="en"', 'id="talk" bandwidth="9"', inside='<Role value="commentary"/>'),
            self._group(f'{kind} lang="de"', 'id="de" bandwidth="1"', inside='<Role value="main"/>'),
            self._group(f'{kind} lang="en"', 'id="en" bandwidth="5"'),
            self._group('contentType="audio" codecs="ac-4" lang="de"', 'id="ac-4" bandwidth="7"'),
            self._group(f'{kind} lang="de"', 'id="de-better" bandwidth="2"'),
        ]
        assert self._chosen(AUDIO, *groups) == "de-better"
        assert self._chosen(AUDIO, groups[0]) == "talk"

    def test_kinds_are_told_by_type_component_or_codec(self) -> None:
        groups = [
            self._group("", 'id="sub" mimeType="application/ttml+xml"'),
            self._group('contentType="image"', 'id="image"'),
            self._group("", 'id="sound" codecs="mp4a.40.2" mimeType="video/mp4"'),
            self._group("", 'id="picture"', inside='<ContentComponent contentType="video"/>'),
        ]
        assert self._chosen(VIDEO, *groups) == "picture"
        assert self._chosen(AUDIO, *groups) == "sound"

    def test_trick_play_is_left_out_and_colours_are_not(self) -> None:
        trick = '<EssentialProperty schemeIdUri="http://dashif.org/guidelines/trickmode"/>'
        colour = '<EssentialProperty schemeIdUri="urn:mpeg:mpegB:cicp:ColourPrimaries" value="1"/>'
        groups = [
            self._group('contentType="video"', 'id="trick" bandwidth="9"', inside=trick),
            self._group('contentType="video"', 'id="plain" bandwidth="1"', inside=colour),
        ]
        assert self._chosen(VIDEO, *groups) == "plain"

    def test_what_is_not_encrypted_is_taken(self) -> None:
        groups = [
            self._group('contentType="video"', 'id="drm" bandwidth="9"', inside="<ContentProtection/>"),
            self._group('contentType="video"', 'id="clear" bandwidth="1"'),
        ]
        assert self._chosen(VIDEO, *groups) == "clear"
        with pytest.raises(SourceError, match="encrypted"):
            self._chosen(VIDEO, groups[0])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<MPD><Period>", "damaged"),
        ("<html/>", "<html>"),
        ('<!DOCTYPE MPD [<!ENTITY a "aaaa">]><MPD>&a;</MPD>', "document type"),
        (mpd("<Period/>"), "neither video nor audio"),
        (mpd('<Period duration="P1Y"/>'), "malformed duration"),
        (mpd("", 'type="dynamic" availabilityStartTime="now"'), "malformed time"),
        (mpd('<Period start="PT0S"/><Period/>'), "when one of its periods begins"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_refused(text: str, words: str) -> None:
    check_refusal(text, words)


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ('<SegmentTemplate duration="2"/>', "without an address"),
        ('<SegmentTemplate media="x"/>', "how long its segments are"),
        ('<SegmentTemplate media="x" duration="two"/>', "malformed number"),
        ('<SegmentTemplate media="x" duration="1" timescale="0"/>', "timescale"),
        ('<SegmentTemplate media="x" duration="1" timescale="1000000"/>', "more than 100000 segments"),
        (f"<SegmentTemplate>{TIMELINE.format('<S/>')}</SegmentTemplate>", "without a length"),
        (f"<SegmentList>{TIMELINE.format(TEN)}</SegmentList>", "than in its list"),
        ('<SegmentList><SegmentURL mediaRange="9-5"/></SegmentList>', "malformed byte range"),
        ('<SegmentTemplate media="{}" duration="1"/>'.format("$Time%099d$" * 84), "8192 characters"),
    ],
)
def test_segments_that_cannot_be_told_are_refused(inside: str, words: str) -> None:
    check_refusal(mpd(f"<Period>{video(inside)}</Period>"), words)


@pytest.mark.parametrize(
    "segment", ['<S t="0" d="1" r="99999999999999999999"/>', '<S t="0" d="1" r="999999"/>' * 20]
)
def test_endless_segments_without_a_length_are_refused(segment: str) -> None:
    timeline = TIMELINE.format(segment)
    inside = f'<SegmentTemplate media="$Time$" timescale="99999999999999999">{timeline}</SegmentTemplate>'
    check_refusal(mpd(f"<Period>{video(inside)}</Period>"), "more than 200000 segments")


def test_a_set_of_many_representations_is_read_at_once() -> None:
    many = "".join(f'<Representation id="{n}" bandwidth="{n}"/>' for n in range(20_000))
    manifest = parse(
        f'<Period><AdaptationSet mimeType="video/mp4"><SegmentTemplate duration="2" '
        f'media="$RepresentationID$"/>{many}</AdaptationSet></Period>'
    )
    assert urls(manifest.segments(VIDEO, 0))[0] == "19999"
    assert urls(manifest.segments(VIDEO, 0, 1))[0] == "19998"
    assert manifest.choices(VIDEO) < 20


def test_a_recording_without_an_end_is_refused() -> None:
    inside = '<SegmentTemplate duration="2" media="x"/>'
    check_refusal(mpd(f"<Period>{video(inside)}</Period>", 'type="static"'), "how long it is")


def check_refusal(text: str, words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        parse_manifest(text, BASE).segments(VIDEO, 0)
    assert (caught.value.reason, caught.value.transient) == (Reason.SOURCE_UNSUPPORTED, False)


def test_what_is_offered_and_why_it_is_played_or_not() -> None:
    sets = (
        '<AdaptationSet mimeType="video/mp4" frameRate="30000/1001"><SegmentTemplate media="a" duration="1"/>'
        '<Representation id="1" bandwidth="900000" width="640" height="x" codecs="avc1.42c01e"/>'
        '<Representation id="2" bandwidth="2000000" width="1280" height="720" codecs="avc1.42c01f"/>'
        '<Representation id="3" bandwidth="9000000" codecs="hvc1"/>'
        '<Representation id="4" codecs="avc1"><ContentProtection/></Representation></AdaptationSet>'
        '<AdaptationSet mimeType="audio/mp4" lang="de"><SegmentTemplate media="a" duration="1"/>'
        '<Representation id="5" bandwidth="64000"/></AdaptationSet>'
        '<AdaptationSet mimeType="audio/mp4" lang="en"><SegmentTemplate media="a" duration="1"/>'
        '<Representation id="6" bandwidth="128000"/></AdaptationSet>'
        '<AdaptationSet mimeType="audio/mp4" lang="de"><Role value="commentary"/>'
        '<SegmentTemplate media="a" duration="1"/><Representation id="7"/></AdaptationSet>'
    )
    manifest = parse(f"<Period>{sets}</Period>")
    best, german, small, hevc, encrypted, english, commentary = manifest.offers
    assert (best.kind, best.width, best.height, best.bandwidth_bps) == ("video", 1280, 720, 2_000_000)
    assert best.frame_rate == pytest.approx(29.97, abs=0.001)
    assert (german.kind, german.language, german.chosen) == ("audio", "de", True)
    assert [offer.chosen for offer in manifest.offers] == [True, True, *[False] * 5]
    assert (small.width, small.height, small.why) == (640, None, "its bit rate is lower")
    assert hevc.why == "another codec is preferred"
    assert encrypted.why == "it is encrypted"
    assert english.why == "another language comes first"
    assert commentary.why == "it is a commentary or the like"


def test_offers_are_bounded() -> None:
    many = '<Representation id="v" bandwidth="9" codecs="avc1"/>' * 80
    manifest = parse(f"<Period>{video(f'{template()}{many}')}</Period>")
    assert (len(manifest.offers), manifest.further) == (50, 31)


def template() -> str:
    return '<SegmentTemplate media="a" duration="1"/>'
