"""HLS playlists by the letter of RFC 8216bis: each rule that concerns a client, by its section."""

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from sluice.core.errors import SourceError
from sluice.media.source import hls_playlist
from sluice.media.source.hls_master import Variant, is_master, parse_master
from sluice.media.source.hls_offer import Offer
from sluice.media.source.hls_playlist import Header, Key, MediaPlaylist, Part, parse_media
from sluice.media.source.hls_text import Variables, attributes

BASE = "https://host.example/live/index.m3u8?token=1"
HERE = "https://host.example/live/"
FOUR = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n" + "".join(
    f"#EXTINF:4.0,\nseg{n}.ts\n" for n in range(6)
)
S = 1_000_000


def media(text: str, base: str = BASE) -> MediaPlaylist:
    return parse_media("#EXTM3U\n" + text, base)


def urls(playlist: MediaPlaylist) -> list[str]:
    return [segment.part.url.removeprefix(HERE) for segment in playlist.segments]


def of_each(field: str) -> Callable[[MediaPlaylist], list[Any]]:
    return lambda playlist: [getattr(segment, field) for segment in playlist.segments]


def test_segments_are_numbered_placed_and_resolved() -> None:
    playlist = parse_media(FOUR + "#EXT-X-ENDLIST\n", BASE)
    assert playlist.ended
    assert playlist.duration_us == 24_000_000
    assert [s.sequence for s in playlist.segments] == [7, 8, 9, 10, 11, 12]
    assert playlist.segments[1].part == Part("https://host.example/live/seg1.ts")
    assert playlist.at(4_000_000).sequence == 8
    assert playlist.at(10**12).sequence == 12


@dataclass
class Rule:
    section: str
    text: str  #: behind #EXTM3U
    read: Callable[[MediaPlaylist], Any]
    right: Any


ONE, TWO = "#EXTINF:2,\na.ts\n", "#EXTINF:2,\nb.ts\n"
K1 = '#EXT-X-KEY:METHOD=AES-128,URI="k1",IV=0x01\n'
DRM = '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://x",KEYFORMAT="com.apple.streamingkeydelivery"\n'
ISO = "#EXT-X-PROGRAM-DATE-TIME:1970-01-01T00:01:40"


def iv(number: int) -> bytes:
    return number.to_bytes(16, "big")


RULES = [
    Rule("4.1 CRLF, CR, blank lines, comments", "\r\n#EXTINF:2,\r\r\n# b\n\n a.ts \r\n", urls, ["a.ts"]),
    Rule("4.1 other line ends are text", "#EXTINF:2,\na\u2028b\x0cc.ts\n", urls, ["a\u2028b\x0cc.ts"]),
    Rule("4.1 a query, a path, another host",
         "#EXTINF:1,\n?x=1\n#EXTINF:1,\n/a\n#EXTINF:1,\nhttp://b/c\n", urls,
         ["index.m3u8?x=1", "https://host.example/a", "http://b/c"]),
    Rule("4.1 what is no address is for whoever opens it", "#EXTINF:1,\nhttp://[x/\n" + ONE, urls,
         ["http://[x/", "a.ts"]),
    Rule("4.1 unknown tags",
         "#EXT-X-CUE-OUT:30\n#EXTVLCOPT:x\n#EXT-OATCLS-SCTE35:aaa=\n" + ONE, urls, ["a.ts"]),
    Rule("4.2 the largest numbers", f"#EXT-X-MEDIA-SEQUENCE:{2**64 - 2}\n" + ONE + TWO, of_each("sequence"),
         [2**64 - 2, 2**64 - 1]),
    Rule("4.3 variables in addresses and texts",
         '#EXT-X-DEFINE:NAME="p",VALUE="x/y"\n#EXT-X-MAP:URI="{$p}/i.mp4"\n#EXTINF:1,\n{$p}/a.ts?{$p}\n',
         lambda p: (urls(p), p.segments[0].header), (["x/y/a.ts?x/y"], Header(Part(HERE + "x/y/i.mp4")))),
    Rule("4.3 in hexadecimal numbers",
         '#EXT-X-DEFINE:NAME="iv",VALUE="0a"\n#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x{$iv}\n' + ONE,
         of_each("key"), [Key(HERE + "k", iv(10))]),
    Rule("4.3 no variables without a definition", "#EXTINF:1,\na{$x}.ts\n", urls, ["a{$x}.ts"]),
    Rule("4.4.2.2 where to begin", "#EXT-X-START:TIME-OFFSET=-4.5,PRECISE=YES\n" + ONE,
         lambda p: p.start_offset_us, -4_500_000),
    Rule("4.4.2.2 nonsense is no hint",
         "#EXT-X-START:TIME-OFFSET=soon\n" + ONE, lambda p: p.start_offset_us, None),
    Rule("4.4.2.3 from the address", '#EXT-X-DEFINE:QUERYPARAM="token"\n#EXTINF:1,\na.ts?t={$token}\n', urls,
         ["a.ts?t=1"]),
    Rule("4.4.3.1 target duration", "#EXT-X-TARGETDURATION:6\n" + ONE, lambda p: p.target_us, 6 * S),
    Rule("4.4.3.1 missing: the longest", ONE, lambda p: p.target_us, 2 * S),
    Rule("4.4.3.2 media sequence", "#EXT-X-MEDIA-SEQUENCE:0042\n" + ONE, of_each("sequence"), [42]),
    Rule("4.4.3.3 runs",
         "#EXT-X-DISCONTINUITY-SEQUENCE:3\n#EXT-X-DISCONTINUITY\n" + ONE + TWO, of_each("run"), [4, 4]),
    Rule("4.4.3.4 end", ONE + "#EXT-X-ENDLIST\n", lambda p: p.ended, True),
    Rule("4.4.3.5 VOD cannot change", "#EXT-X-PLAYLIST-TYPE:VOD\n" + ONE, lambda p: p.ended, True),
    Rule("4.4.3.5 EVENT goes on", "#EXT-X-PLAYLIST-TYPE:EVENT\n" + ONE, lambda p: p.ended, False),
    Rule("4.4.3.8 hold back", "#EXT-X-SERVER-CONTROL:HOLD-BACK=16.0,PART-HOLD-BACK=1.5\n" + ONE,
         lambda p: p.hold_back_us, 16 * S),
    Rule("4.4.3.8 no less than three targets", "#EXT-X-SERVER-CONTROL:HOLD-BACK=0.1\n" + ONE,
         lambda p: p.hold_back_us, 6 * S),
    Rule("4.4.4.1 duration",
         "#EXTINF:2.500,a, b\na\n#EXTINF:3\nb\n#EXTINF: 1. ,\nc\n", of_each("duration_us"),
         [2_500_000, 3 * S, S]),
    Rule("4.4.4.1 none: no segment", "stray.ts\n" + ONE, urls, ["a.ts"]),
    Rule("4.4.4.2 ranges",
         "#EXTINF:1,\n#EXT-X-BYTERANGE:5@10\na\n#EXT-X-BYTERANGE:7\n#EXTINF:1,\na\n#EXTINF:1,\na\n",
         of_each("part"), [Part(HERE + "a", 10, 5), Part(HERE + "a", 15, 7), Part(HERE + "a")]),
    Rule("4.4.4.3 discontinuity", ONE + "#EXT-X-DISCONTINUITY\n" + TWO, of_each("run"), [0, 1]),
    Rule("4.4.4.4 a key until the next",
         K1 + ONE + '#EXT-X-KEY:METHOD=AES-128,URI="k2",IV=0X02\n' + TWO, of_each("key"),
         [Key(HERE + "k1", iv(1)), Key(HERE + "k2", iv(2))]),
    Rule("4.4.4.4 no key any more", K1 + ONE + "#EXT-X-KEY:METHOD=NONE\n" + TWO, of_each("key"),
         [Key(HERE + "k1", iv(1)), None]),
    Rule("4.4.4.4 several ways to the same key",
         DRM + K1 + DRM + ONE, of_each("key"), [Key(HERE + "k1", iv(1))]),
    Rule("4.4.4.4 nothing is encrypted with the last one", ONE + DRM, of_each("key"), [None]),
    Rule("5.2 the sequence number is the vector",
         '#EXT-X-MEDIA-SEQUENCE:9\n#EXT-X-KEY:METHOD=AES-128,URI="k,1"\n' + ONE,
         of_each("key"), [Key(HERE + "k,1", iv(9))]),
    Rule("4.4.4.5 header and its key",
         '#EXT-X-MAP:URI="i"\n' + K1 + ONE + '#EXT-X-MAP:URI="j"\n' + TWO, of_each("header"),
         [Header(Part(HERE + "i")), Header(Part(HERE + "j"), Key(HERE + "k1", iv(1)))]),
    Rule("4.4.4.5 header in a file",
         '#EXT-X-MAP:URI="i",BYTERANGE="7@3"\n' + ONE + '#EXT-X-MAP:BYTERANGE="7",URI="i"\n' + TWO,
         of_each("header"), [Header(Part(HERE + "i", 3, 7)), Header(Part(HERE + "i", 0, 7))]),
    Rule("4.4.4.6 time of day, on and back", ONE + ISO + "Z\n" + TWO + ONE, of_each("program_time_us"),
         [98 * S, 100 * S, 102 * S]),
    Rule("4.4.4.6 within a run, with a zone", ISO + ".5+00:01\n" + ONE + "#EXT-X-DISCONTINUITY\n" + TWO,
         of_each("program_time_us"), [40_500_000, None]),
    Rule("4.4.4.6 nonsense", "#EXT-X-PROGRAM-DATE-TIME:today\n" + ONE, of_each("program_time_us"), [None]),
    Rule("4.4.4.7 gap", "#EXT-X-GAP\n" + ONE + TWO, of_each("gap"), [True, False]),
    Rule("4.4.4.8 bitrate", "#EXT-X-BITRATE:abc\n" + ONE, urls, ["a.ts"]),
    Rule("4.4.4.9 parts are not segments",
         '#EXT-X-PART:DURATION=0.5,URI="p"\n' + ONE + '#EXT-X-PART:DURATION=0.5,URI="q",GAP=YES\n',
         urls, ["a.ts"]),
    Rule("4.4.5.1 date ranges",
         '#EXT-X-DATERANGE:ID="x",START-DATE="y",X-A="b, c=\'d\'"\n' + ONE, urls, ["a.ts"]),
    Rule("4.4.5.3 hints",
         ONE + '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="p"\n#EXT-X-RENDITION-REPORT:URI="r"\n', urls, ["a.ts"]),
]  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.section)
def test_a_media_playlist_by_the_letter(rule: Rule) -> None:
    assert rule.read(media(rule.text)) == rule.right


@pytest.mark.parametrize(
    ("tags", "sequence"),
    [
        ("", 10),  # three target durations
        ("#EXT-X-SERVER-CONTROL:HOLD-BACK=16.0\n", 9),
        ("#EXT-X-START:TIME-OFFSET=-5\n", 11),
        ("#EXT-X-START:TIME-OFFSET=4.5,PRECISE=NO\n", 8),
        ("#EXT-X-SERVER-CONTROL:HOLD-BACK=1000\n", 7),
        ("#EXT-X-PLAYLIST-TYPE:EVENT\n", 10),
    ],
)
def test_a_live_playlist_is_joined_behind_its_edge(tags: str, sequence: int) -> None:
    assert parse_media(FOUR + tags, BASE).join().sequence == sequence


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('#EXT-X-KEY:METHOD=SAMPLE-AES,URI="k"', "SAMPLE-AES"),
        ('#EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI="k",KEYFORMAT="com.microsoft.playready"', "PlayReady"),
        ('#EXT-X-KEY:METHOD=AES-128,URI="k",KEYFORMAT="com.example.drm"', "com.example.drm"),
        ("#EXT-X-KEY:METHOD=AES-128", "no key"),
        ('#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0xZZ', "vector"),
        (f'#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x{"0" * 33}', "vector"),
        ('#EXT-X-MAP:BYTERANGE="1@2"', "initialization section without an address"),
        ("#EXTINF:nan,", "duration"),
        ("#EXTINF:1e7,", "duration"),
        ("#EXTINF:abc,", "duration"),
        ("#EXT-X-MEDIA-SEQUENCE:-1", "number"),
        ("#EXT-X-BYTERANGE:x@y", "number"),
        ("#EXT-X-MEDIA-SEQUENCE:" + "9" * 30, "number"),
        (f"#EXT-X-MEDIA-SEQUENCE:{2**64}", "number"),
        ('#EXT-X-DEFINE:IMPORT="x"', "master playlist"),
        ('#EXT-X-DEFINE:QUERYPARAM="x"', "parameter 'x'"),
        ('#EXT-X-DEFINE:NAME="x",VALUE="1"\n#EXT-X-DEFINE:NAME="x",VALUE="1"', "twice"),
        ('#EXT-X-DEFINE:NAME="x",VALUE="1"\n#EXT-X-MAP:URI="{$y}"', "without defining"),
    ],
)
def test_what_cannot_be_played_rightly_is_refused(line: str, words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        media(f"{line}\n#EXTINF:1,\na.ts\n")
    assert not caught.value.transient


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<html>502 Bad Gateway</html>", "something else than a playlist"),
        ("", "something else than a playlist"),
        (" \n#EXTINF:1,\na.ts\n", "something else than a playlist"),
        ("#EXTM3U\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n#EXTINF:1,\na.ts\n", "not asked for"),
    ],
)
def test_an_answer_that_is_no_playlist_may_be_one_again(text: str, words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        parse_media(text, BASE)
    assert caught.value.transient


@pytest.mark.parametrize("head", ["\ufeff#EXTM3U", "#EXTM3U x-cache=1", "\n\n#EXTM3U", "#EXTM3U:"])
def test_the_head_of_a_playlist(head: str) -> None:
    assert len(parse_media(f"{head}\n#EXTINF:1,\na.ts\n", BASE).segments) == 1


def test_attribute_lists() -> None:
    line = 'X:A=1,B="x, y=z",C=0x1F,D= q ,E="",bad,F=1x2,junk="x",G="open'
    found = {"A": "1", "B": "x, y=z", "C": "0x1F", "D": "q", "E": "", "F": "1x2", "G": "open"}
    assert attributes(line, Variables(BASE)) == found


@pytest.mark.parametrize("unit", ["A", "A=", ",", '"', " ", "A=1,", 'A="', "=", "A =", "{$"])
def test_long_lines_are_read_at_once(unit: str) -> None:
    """A time that grows with the square of the length would be hours here."""
    tag = f"#EXT-X-MAP:{unit * (2 << 20)}"
    text = f'#EXT-X-DEFINE:NAME="a",VALUE="b"\n{tag},URI="i"\n#EXTINF:1,\na.ts\n'
    with suppress(SourceError):
        media(text)


def test_variables_do_not_grow_without_end() -> None:
    doubling = "".join(
        f'#EXT-X-DEFINE:NAME="v{n}",VALUE="{{$v{n - 1}}}{{$v{n - 1}}}"\n' for n in range(1, 60)
    )
    with pytest.raises(SourceError, match="without end"):
        media(f'#EXT-X-DEFINE:NAME="v0",VALUE="x"\n{doubling}#EXTINF:1,\na.ts\n')


def test_endless_playlists_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hls_playlist, "MOST_SEGMENTS", 100)
    assert len(media("#EXTINF:1,\na\n" * 100).segments) == 100
    with pytest.raises(SourceError, match="more than 100 segments"):
        media("#EXTINF:1,\na\n" * 101)


def test_whatever_is_written_is_read_or_refused() -> None:
    rng = random.Random(8216)
    junk = [
        "\0",
        '"',
        ",",
        "=",
        "{$",
        "}",
        "@",
        "-",
        "9" * 25,
        "e9",
        ".",
        "\u2028",
        "\r",
        "#",
        "0x",
        "http://[",
        "\n",
    ]
    for _ in range(2000):
        text = list("".join(rng.choice(RULES).text for _ in range(rng.randint(1, 4))))
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(text) + 1)
            text[at : at + rng.randint(0, 5)] = rng.choice(junk)
        with suppress(SourceError):
            playlist = media("".join(text))
            assert not playlist.segments or playlist.join() in playlist.segments


# --- master playlists ---------------------------------------------------------------------------------------

DESCRIBES = "public.accessibility.describes-video"
H264 = 'CODECS="avc1.64001f,mp4a.40.2"'


def variants(text: str) -> list[str]:
    return [v.url.removeprefix(HERE) for v in parse_master("#EXTM3U\n" + text, BASE).variants]


def sounds(*lines: str) -> tuple[str, ...]:
    """Of one variant of the group `a` between the lines."""
    inf = f'#EXT-X-STREAM-INF:BANDWIDTH=1,{H264},AUDIO="a"\nv.m3u8\n'
    (variant,) = parse_master("#EXTM3U\n" + "".join(lines).replace("INF", inf), BASE).variants
    return tuple(url.removeprefix(HERE) for url in variant.sounds)


def sound(uri: str, more: str, group: str = "a") -> str:
    return f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="{group}",URI="{uri}",{more}\n'


def test_the_best_variant_is_h264_with_the_highest_bandwidth() -> None:
    text = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="en",URI="en.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="de",DEFAULT=YES,URI="de.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=9000,CODECS="hvc1.1.6,mp4a.40.2"
hevc.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=500,CODECS="avc1.64001f,mp4a.40.2",AUDIO="a"
mid.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=100,CODECS="avc1.64001f,mp4a.40.2"
low.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=99999,CODECS="mp4a.40.2"
sound.m3u8
"""
    assert is_master(text)
    best = parse_master(text, BASE).variants[0]
    assert best.url == "https://host.example/live/mid.m3u8"
    assert best.sounds == ("https://host.example/live/de.m3u8",)
    assert variants(text.removeprefix("#EXTM3U\n")) == ["mid.m3u8", "low.m3u8", "hevc.m3u8", "sound.m3u8"]


@pytest.mark.parametrize(
    ("lines", "right"),
    [
        ([sound("x", 'NAME="x"'), "INF"], ("x",)),
        (["INF", sound("x", 'NAME="x"')], ("x",)),  # 4.4.6: tags have no order
        (["INF", sound("x", "AUTOSELECT=NO"), sound("y", "AUTOSELECT=YES")], ("y",)),
        (["INF", sound("x", 'NAME="x"'), sound("y", 'NAME="y"')], ("x",)),
        (["INF", sound("x", f'CHARACTERISTICS="{DESCRIBES}"'), sound("y", "A=1")], ("y",)),
        (["INF", sound("x", 'NAME="n"', "b"), sound("y", 'NAME="n"')], ("y", "x")),  # another quality
        (["INF", sound("x", 'NAME="n",LANGUAGE="en"', "b"), sound("y", 'NAME="n",LANGUAGE="de"')], ("y",)),
        (["INF", '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="in it"\n'], ()),  # 4.4.6.2.1
        (["INF", sound("x", 'NAME="x"', "b")], ()),
        (["INF", sound("x", "A=1").replace("AUDIO", "SUBTITLES")], ()),
    ],
)  # fmt: skip
def test_the_sound_of_a_variant(lines: list[str], right: tuple[str, ...]) -> None:
    assert sounds(*lines) == right


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("#EXT-X-STREAM-INF:BANDWIDTH=x\na\n#EXT-X-STREAM-INF:BANDWIDTH=1\nb\n", ["b", "a"]),
        (
            "#EXT-X-STREAM-INF:BANDWIDTH=1\na\n#EXT-X-STREAM-INF:BANDWIDTH=1\nb\n",
            ["a", "b"],
        ),  # 4.4.6.2: spare
        ('#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=9,URI="i"\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n', ["a"]),
        ('#EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI="k"\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n', ["a"]),
        ('#EXT-X-SESSION-DATA:DATA-ID="d",VALUE="v"\n#EXT-X-STREAM-INF:BANDWIDTH=1\n# b\n\na\n', ["a"]),
        ('#EXT-X-CONTENT-STEERING:SERVER-URI="s"\n#EXT-X-STREAM-INF:BANDWIDTH=1\n\na\n', ["a"]),
        ('#EXT-X-DEFINE:NAME="v",VALUE="x"\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{$v}/a\n', ["x/a"]),
        (sound("s", "DEFAULT=YES"), ["s"]),
        ("stray\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n", ["a"]),
    ],
)
def test_a_master_playlist_by_the_letter(text: str, right: list[str]) -> None:
    assert variants(text) == right


def test_sound_alone_is_a_rendition_of_its_group() -> None:
    text = '#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="mp4a.40.2",AUDIO="a"\ns.m3u8\n' + sound(
        "s.m3u8", "DEFAULT=YES"
    )
    assert parse_master("#EXTM3U\n" + text, BASE).variants == (Variant(HERE + "s.m3u8", 1, ("mp4a.40.2",)),)


@pytest.mark.parametrize(
    ("told", "size", "rate"),
    [
        ("RESOLUTION=1280x720,FRAME-RATE=29.970", (1280, 720), 29.97),
        ("RESOLUTION=1280,FRAME-RATE=-1", None, None),
        (f"RESOLUTION={'9' * 99}x1,FRAME-RATE=1e9", None, None),
        ("FRAME-RATE=25", None, 25.0),
    ],
)
def test_size_and_rate_of_a_variant(told: str, size: tuple[int, int] | None, rate: float | None) -> None:
    (variant,) = parse_master(f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,{told}\na\n", BASE).variants
    assert (variant.size, variant.frame_rate) == (size, rate)


def test_what_is_offered_and_why_it_is_played_or_not() -> None:
    text = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="German",LANGUAGE="de",URI="de"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="none",LANGUAGE="und"
#EXT-X-STREAM-INF:BANDWIDTH=9,CODECS="hvc1"
hevc
#EXT-X-STREAM-INF:BANDWIDTH=5,CODECS="avc1",RESOLUTION=640x360
best
#EXT-X-STREAM-INF:BANDWIDTH=5,CODECS="avc1"
spare
#EXT-X-STREAM-INF:BANDWIDTH=4,CODECS="avc1"
low
#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="mp4a"
sound
"""
    master = parse_master(text, BASE)
    offer = Offer(master)
    assert {one.why for one in offer.shown[0]} == {"it was not tried yet"}
    offer.fail(0, "404")
    offer.tell(master, 1, HERE + "de")
    shown, further = offer.shown
    assert [one.why for one in shown] == [
        "it cannot be played: 404",
        "the best that can be played: H.264 first, then the highest bit rate",
        "its bit rate is lower",
        "it is not H.264, which is passed on unchanged or cheap to decode",
        "it is not H.264, which is passed on unchanged or cheap to decode",
        "the sound of the variant that is played",
    ]
    assert [one.chosen for one in shown] == [False, True, False, False, False, True]
    assert (shown[0].width, shown[-1].language, shown[-1].name, further) == (640, "de", "German", 0)


def test_offers_are_bounded() -> None:
    master = parse_master("#EXTM3U\n" + "#EXT-X-STREAM-INF:BANDWIDTH=1\na\n" * 80, BASE)
    shown, further = Offer(master).shown
    assert (len(shown), further) == (50, 30)


def test_variables_of_a_master_are_those_of_its_playlists() -> None:
    master = parse_master(
        '#EXTM3U\n#EXT-X-DEFINE:NAME="v",VALUE="x"\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n', BASE
    )
    text = '#EXTM3U\n#EXT-X-DEFINE:IMPORT="v"\n#EXTINF:1,\n{$v}.ts\n'
    assert urls(parse_media(text, BASE, master.variables)) == ["x.ts"]
    with pytest.raises(SourceError, match="without defining"):
        parse_media(text.replace('"v"', '"w"'), BASE, master.variables)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na", True),
        ("#EXTM3U\n#EXTINF:1,#EXT-X-STREAM-INF:\na", False),
        ("#EXTM3U\n# #EXT-X-STREAM-INF:\n#EXTINF:1,\na", False),
        ('#EXTM3U\n#EXT-X-I-FRAME-STREAM-INF:URI="a"', False),
        (FOUR, False),
    ],
)
def test_which_playlist_is_a_master(text: str, right: bool) -> None:
    assert is_master(text) is right


def test_a_master_playlist_without_variants_is_refused() -> None:
    with pytest.raises(SourceError, match="no segments"):
        parse_master("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n", BASE)


def test_a_large_master_playlist_is_read() -> None:
    lines = "".join(
        f'#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="g{n}"\nv{n}\n' + sound(f"s{n}", "A=1", f"g{n}")
        for n in range(500)
    )
    assert len(variants(lines)) == 500
