"""What playlists and manifests of strangers may cost: work grows as their bytes do, and has an end.

Steps are counted, not seconds: lines of Python and calls of built-in functions. What a built-in function does
with one long string is no step, so that such strings are read within a bound of CPU time, too, which work
that grows with the square of their length would exceed a hundredfold.
"""

import contextlib
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from sluice.core.errors import SourceError
from sluice.core.http_url import HttpUrl
from sluice.media.packets import TrackKind
from sluice.media.source.dash_manifest import parse_manifest
from sluice.media.source.hls_master import parse_master
from sluice.media.source.hls_playlist import parse_media
from sluice.media.source.playlist import entries_of
from sluice.media.source.sniff import Content, content_of
from sluice.wire import id3
from sluice.wire.cookies import CookieJar

BASE = "http://host/a/index"
LONG_BASE = f"http://host/{'x' * 8000}/index"
MEDIA, SEGMENT = "#EXTM3U\n", "#EXTINF:1,\na\n"
UNTIMED = f'<SegmentTemplate media="a" duration="1" timescale="{"9" * 20}"/>'
TEMPLATE = '<SegmentTemplate media="$Number$" duration="1"/>'


def media(text: str, base: str = BASE) -> None:
    parse_media(MEDIA + text + SEGMENT, base)


def master(text: str) -> None:
    parse_master(MEDIA + text + "#EXT-X-STREAM-INF:BANDWIDTH=1\na\n", BASE)


def manifest(inside: str, attributes: str = 'mediaPresentationDuration="PT9S"', base: str = BASE) -> None:
    made = parse_manifest(f"<MPD {attributes}>{inside}</MPD>", base)
    made.segments(TrackKind.VIDEO, 10**15)


def period(inside: str = TEMPLATE, attributes: str = "", identity: str = "1") -> str:
    representation = f'<Representation id="{identity}" bandwidth="1">{inside}</Representation>'
    return (
        f'<Period {attributes}><AdaptationSet mimeType="video/mp4">{representation}</AdaptationSet></Period>'
    )


def timeline(entries: str, scale: str = "1") -> str:
    return (
        f'<SegmentTemplate media="$Number$" timescale="{scale}">'
        f"<SegmentTimeline>{entries}</SegmentTimeline></SegmentTemplate>"
    )


def steps(work: Callable[[], object]) -> int:
    count = 0

    def trace(_frame: FrameType, _event: str, _argument: object) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(trace)
    sys.setprofile(trace)
    try:
        with contextlib.suppress(SourceError):
            work()
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    return count


GROWING: dict[str, Callable[[int], object]] = {
    "segments": lambda n: media(SEGMENT * n),
    "dated segments": lambda n: media(f"#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00Z\n{SEGMENT}" * n),
    "keys": lambda n: media(f'#EXT-X-KEY:METHOD=AES-128,URI="k"\n{SEGMENT}' * n),
    "forms of keys": lambda n: media("".join(f"#EXT-X-KEY:METHOD=X,KEYFORMAT={k}\n" for k in range(n))),
    "attributes": lambda n: media(f"#EXT-X-KEY:{'A=1,' * n}\n"),
    "lines": lambda n: media("a\n\n#\n" * n),
    "variables": lambda n: media("".join(f'#EXT-X-DEFINE:NAME="v{k}",VALUE="x"\n' for k in range(n))),
    "parameters": lambda n: media(
        "".join(f'#EXT-X-DEFINE:QUERYPARAM="p{k}"\n' for k in range(n)),
        BASE + "?" + "&".join(f"p{k}=1" for k in range(n)),
    ),
    "variants": lambda n: master("#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=a\na\n" * n),
    "renditions": lambda n: master(
        "".join(f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="{k}",NAME="a",URI="a"\n' for k in range(n))
    ),
    "periods": lambda n: manifest(period(attributes='duration="PT1S"') * n),
    "periods of nothing": lambda n: manifest(period(TEMPLATE, 'duration="PT0S"') * n),
    "entries of a timeline": lambda n: manifest(period(timeline('<S d="1"/>' * n)), ""),
    "segments of a list": lambda n: manifest(
        period(f'<SegmentList duration="1">{"<SegmentURL/>" * n}</SegmentList>'), ""
    ),
    "representations": lambda n: manifest(
        f'<Period><AdaptationSet mimeType="video/mp4">{"<Representation/>" * n}</AdaptationSet></Period>'
    ),
    "addresses": lambda n: manifest("<BaseURL>a/</BaseURL>" * n + period()),
    "text": lambda n: manifest("<a>b</a>" * n + period()),
    "entries of M3U": lambda n: entries_of(Content.TEXT, "a\n" * n, BASE),
    "entries of PLS": lambda n: entries_of(Content.PLS, "file1=a\n" * n, BASE),
    "entries of XSPF": lambda n: entries_of(
        Content.XSPF, f"<playlist>{'<location>a</location>' * n}</playlist>", BASE
    ),
    "frames of ID3": lambda n: id3.timestamp_us(b"ID3\3\0\0\0\1\0\0" + b"TXXX\0\0\0\0\0\0" * n),
    "cookies": lambda n: CookieJar().store(HttpUrl.parse(BASE), [f"c{k}=1; path=/{k}" for k in range(n)], 0),
}


@pytest.mark.parametrize("name", GROWING)
def test_twice_as_much_is_twice_the_work(name: str) -> None:
    work = GROWING[name]
    steps(lambda: work(2))  # what is made once is there
    once, twice = steps(lambda: work(200)), steps(lambda: work(400))
    assert twice < 2.2 * once


MANY = 1_000_000
#: A text that a regular expression could try at each place, by the kind of text.
LONG: dict[str, Callable[[], object]] = {
    "a tag without an end": lambda: media(f"#EXT-X-KEY:{'A' * MANY}\n"),
    "commas": lambda: media(f"#EXT-X-KEY:{'A,' * MANY}\n"),
    "quotes": lambda: media("#EXT-X-KEY:" + 'A=",' * MANY + "\n"),
    "blanks": lambda: media(f"#EXT-X-KEY:{'A ' * MANY}\n"),
    "blanks in numbers": lambda: media(f"#EXTINF:{' ' * MANY}x\n"),
    "digits": lambda: media(f"#EXT-X-MEDIA-SEQUENCE:{'1' * MANY}\n"),
    "digits of a fraction": lambda: media(f"#EXTINF:1.{'1' * MANY}\n"),
    "digits of a date": lambda: media(f"#EXT-X-PROGRAM-DATE-TIME:{'1' * MANY}\n"),
    "digits of a vector": lambda: media(f'#EXT-X-KEY:METHOD=AES-128,URI="k",IV={"1" * MANY}\n'),
    "beginnings of variables": lambda: media(
        '#EXT-X-DEFINE:NAME="a",VALUE="b"\n#EXT-X-MAP:URI="' + "{$a" * MANY + '"\n'
    ),
    "empty lines": lambda: media("\n" * 8 * MANY),
    "digits of a duration": lambda: manifest(period(), f'mediaPresentationDuration="PT1.{"1" * 200_000}S"'),
    "zeros of a duration": lambda: manifest(period(), f'mediaPresentationDuration="P{"0" * 200_000}"'),
    "brackets": lambda: manifest("<" * MANY),
    "a name of a namespace": lambda: manifest(f"{'<a/>' * 100_000}{period()}", f'xmlns="{"u" * 200_000}"'),
    "a comment": lambda: manifest(f"<!--{'-' * MANY}"),
    "attributes": lambda: manifest(period(), " ".join(f"a{k}=''" for k in range(20_000))),
    "blanks in a list": lambda: entries_of(Content.PLS, f"file1{' ' * MANY}", BASE),
    "markup": lambda: content_of(b"<" * 1024),
}


@pytest.mark.parametrize("name", LONG)
def test_long_texts_are_looked_at_once(name: str) -> None:
    begun = time.process_time()
    with contextlib.suppress(SourceError):
        LONG[name]()
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (lambda: media("#\n" * 1_000_001), "more than 1000000 lines"),
        (lambda: media(SEGMENT, f"http://h/{'x' * 9000}/"), "more than 8192 characters"),
        (lambda: media(SEGMENT * 7_000, LONG_BASE), "more than 50331648 characters"),
        (
            lambda: media(
                f'#EXT-X-DEFINE:NAME="a",VALUE="{"x" * 60_000}"\n' + '#EXT-X-MAP:URI="{$a}"\n' * 2
            ),
            "more than 8192 characters",
        ),
        (
            lambda: media(
                f'#EXT-X-DEFINE:NAME="a",VALUE="{"x" * 60_000}"\n' + '#EXT-X-START:A="{$a}"\n' * 900
            ),
            "texts without end",
        ),
        (lambda: master("#EXT-X-STREAM-INF:A=1\na\n" * 1001), "more than 1000 variants"),
        (lambda: master('#EXT-X-MEDIA:TYPE=AUDIO,URI="a"\n' * 1001), "more than 1000 variants"),
        (lambda: manifest(period() * 10_001), "more than 10000 periods"),
        (lambda: manifest("<a/>" * 250_000), "more than 250000 elements"),
        (lambda: manifest("<a>" * 64 + "</a>" * 64), "more than 64 deep"),
        (lambda: manifest(f'<a b="{"x" * 400_000}"/>'), "a tag of more than 262144 bytes"),
        (lambda: manifest(period(), base=f"http://h/{'x' * 9000}/"), "more than 8192 characters"),
        (lambda: manifest(period(), base=f"{BASE}?{'x' * 9000}"), "more than 8192 characters"),
        (lambda: manifest(f"<BaseURL>{'x' * 9000}</BaseURL>" + period()), "more than 8192 characters"),
        (lambda: manifest(period(identity="x" * 9000)), "more than 8192 characters"),
        (
            lambda: manifest(period(f'<SegmentTemplate media="{"$Number%099d$" * 700}" duration="1"/>')),
            "more than 8192 characters",
        ),
        (
            lambda: manifest(
                period(f'<SegmentTemplate media="{"$Number%099d$" * 80}" duration="1"/>'),
                'mediaPresentationDuration="PT9000S"',
            ),
            "more than 50331648 characters",
        ),
        (
            lambda: manifest(period(timeline(f'<S t="0" d="1" r="{"9" * 20}"/>', "9" * 20))),
            "more than 200000 segments",
        ),
        (
            lambda: manifest(period(UNTIMED, 'duration="PT1S"') * 3),
            "more than 200000 segments",
        ),
        (lambda: entries_of(Content.XSPF, "<playlist>" + "<a>" * 64, BASE), "more than 64 deep"),
    ],
)  # fmt: skip
def test_there_is_an_end(work: Callable[[], None], words: str) -> None:
    begun = time.process_time()
    with pytest.raises(SourceError, match=words) as caught:
        work()
    assert not caught.value.transient
    assert time.process_time() - begun < 5
