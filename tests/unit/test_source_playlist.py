"""HLS playlists: what is read from them, and what is refused."""

import pytest

from sluice.core.errors import SourceError
from sluice.media.source.hls_master import is_master, parse_master
from sluice.media.source.hls_playlist import Header, Key, Part, parse_media

BASE = "https://host.example/live/index.m3u8?token=1"
FOUR = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n" + "".join(
    f"#EXTINF:4.0,\nseg{n}.ts\n" for n in range(6)
)


def test_segments_are_numbered_placed_and_resolved() -> None:
    playlist = parse_media(FOUR + "#EXT-X-ENDLIST\n", BASE)
    assert playlist.ended
    assert playlist.duration_us == 24_000_000
    assert [s.sequence for s in playlist.segments] == [7, 8, 9, 10, 11, 12]
    assert playlist.segments[1].part == Part("https://host.example/live/seg1.ts")
    assert playlist.at(4_000_000).sequence == 8
    assert playlist.at(10**12).sequence == 12


@pytest.mark.parametrize(
    ("tags", "sequence"),
    [
        ("", 10),  # three target durations
        ("#EXT-X-SERVER-CONTROL:HOLD-BACK=16.0\n", 9),
        ("#EXT-X-START:TIME-OFFSET=-5\n", 11),
        ("#EXT-X-START:TIME-OFFSET=4.5,PRECISE=NO\n", 8),
        ("#EXT-X-SERVER-CONTROL:HOLD-BACK=1000\n", 7),
    ],
)
def test_a_live_playlist_is_joined_behind_its_edge(tags: str, sequence: int) -> None:
    assert parse_media(FOUR + tags, BASE).join().sequence == sequence


def test_keys_ranges_headers_and_runs_belong_to_their_segments() -> None:
    text = """#EXTM3U
#EXT-X-DISCONTINUITY-SEQUENCE:3
#EXT-X-MAP:URI="init.mp4",BYTERANGE="700@10"
#EXT-X-BYTERANGE:100@700
#EXTINF:2,
all.mp4
#EXT-X-KEY:METHOD=AES-128,URI="k,1",IV=0x000000000000000000000000000000FF
#EXT-X-BYTERANGE:50
#EXTINF:2,title, with a comma
all.mp4
#EXT-X-DISCONTINUITY
#EXT-X-KEY:METHOD=NONE
#EXTINF:2
other.mp4
"""
    first, second, third = parse_media(text, BASE).segments
    url = "https://host.example/live/all.mp4"
    assert (first.part, second.part) == (Part(url, 700, 100), Part(url, 800, 50))
    assert first.header == Header(Part("https://host.example/live/init.mp4", 10, 700))
    assert (first.key, third.key) == (None, None)
    assert second.key == Key("https://host.example/live/k,1", bytes(15) + b"\xff")
    assert (first.run, second.run, third.run) == (3, 3, 4)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('#EXT-X-KEY:METHOD=SAMPLE-AES,URI="k"', "SAMPLE-AES"),
        ('#EXT-X-KEY:METHOD=AES-128,URI="k",KEYFORMAT="com.example.drm"', "com.example.drm"),
        ("#EXT-X-KEY:METHOD=AES-128", "no key"),
        ('#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0xZZ', "vector"),
        ("#EXTINF:nan,", "duration"),
        ("#EXTINF:abc,", "duration"),
        ("#EXT-X-MEDIA-SEQUENCE:-1", "number"),
        ("#EXT-X-BYTERANGE:x@y", "number"),
        ("#EXT-X-MEDIA-SEQUENCE:" + "9" * 30, "number"),
    ],
)
def test_what_cannot_be_played_rightly_is_refused(line: str, words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        parse_media(f"#EXTM3U\n{line}\n#EXTINF:1,\na.ts\n", BASE)
    assert not caught.value.transient


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


def test_a_master_playlist_without_variants_is_refused() -> None:
    with pytest.raises(SourceError, match="no segments"):
        parse_master("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n", BASE)
