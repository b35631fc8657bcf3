"""Lists of addresses, read and played with entries that fail, differ, and are sought in."""

import io
from unittest.mock import create_autospec

import pytest

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.limits import MOST_LIST_ENTRIES
from sluice.core.plan import AudioTrack, Probe
from sluice.core.source_facts import Packaging
from sluice.media.packets import Packet, TrackKind
from sluice.media.relay.read_ahead import Resumable
from sluice.media.source.hls import HlsSource
from sluice.media.source.hls_playlist import Part
from sluice.media.source.notes import Notes
from sluice.media.source.playlist import (
    Opener,
    PlaylistSource,
    entries_of,
    is_hls,
    may_be_list,
    read_list,
)
from sluice.media.source.sniff import Content

_BASE = "http://h/lists/radio.m3u?key=1"
_FRAME_US = 20_000


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("#EXTM3U\n#EXTINF:12,Band - Song\nsong.mp3\n", ["http://h/lists/song.mp3"]),
        ("#EXTM3U\r\n\r\n  /a b.mp3  \r\n#EXTVLCOPT:x\r\n../c.mp3", ["http://h/a b.mp3", "http://h/c.mp3"]),
        ("http://other:8000/;stream.mp3\n//cdn/x", ["http://other:8000/;stream.mp3", "http://cdn/x"]),
        ("sub\\song.mp3\nC:\\Music\\x.mp3", ["http://h/lists/sub/song.mp3", "C:/Music/x.mp3"]),
        ("音 乐.mp3\nrtmp://h/live/x", ["http://h/lists/音 乐.mp3", "rtmp://h/live/x"]),
        ("http://[broken\n", ["http://[broken"]),
        ("\n".join(["a.mp3"] * (MOST_LIST_ENTRIES + 5)), ["http://h/lists/a.mp3"] * MOST_LIST_ENTRIES),
    ],
)
def test_m3u(text: str, urls: list[str]) -> None:
    assert entries_of(Content.M3U, text, _BASE) == urls
    assert not is_hls(text)


def test_pls() -> None:
    text = "[Playlist]\nNumberOfEntries=3\nFile10=c.mp3\nTitle1=One\nfile2 = http://h/b?a=1&File1=x\nFILE1=a.mp3\n"
    text += "Length1=-1\nFile3=\nVersion=2\n"
    assert entries_of(Content.PLS, text, _BASE) == [
        "http://h/lists/a.mp3",
        "http://h/b?a=1&File1=x",
        "http://h/lists/c.mp3",
    ]


def test_xspf() -> None:
    text = '<playlist version="1" xmlns="http://xspf.org/ns/0/"><trackList><track><location>a.mp3</location></track>'
    text += "<track><title>x</title><location> http://h/b </location></track></trackList></playlist>"
    assert entries_of(Content.XSPF, text, _BASE) == ["http://h/lists/a.mp3", "http://h/b"]
    with pytest.raises(SourceError):
        entries_of(Content.XSPF, text[:-5], _BASE)
    with pytest.raises(SourceError):
        entries_of(Content.XSPF, '<!DOCTYPE x [<!ENTITY a "b">]>' + text, _BASE)


@pytest.mark.parametrize(
    ("content", "text"), [(Content.M3U, "#EXTM3U\n"), (Content.PLS, "[playlist]\nNumberOfEntries=0\n")]
)
def test_a_list_of_nothing(content: Content, text: str) -> None:
    with pytest.raises(SourceError, match="names nothing to play"):
        entries_of(content, text, _BASE)


@pytest.mark.parametrize(
    ("text", "hls"),
    [
        ("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na.ts\n", True),
        ("#EXTM3U\n#EXTINF:2,\na.ts\n#EXT-X-ENDLIST", True),
        ("#EXTM3U\n#EXTINF:2,about #EXT-X-KEY\na.mp3\n", False),
    ],
)
def test_hls_has_tags_of_its_own(text: str, hls: bool) -> None:
    assert is_hls(text) == hls


@pytest.mark.parametrize(
    ("head", "content_type", "url", "may_be"),
    [
        (b"http://h/a.mp3\n", "text/plain", "http://h/x", True),
        (b"# radio\n\nrtmps://h/a", "", "http://h/x", True),
        (b"song.mp3\n", "audio/x-mpegurl", "http://h/x", True),
        (b"song.mp3\n", "text/plain", "http://h/My.M3U?x=1", True),
        (b"song.mp3\n", "text/plain", "http://h/x?a=.m3u", False),
        (b"see http://h/a.mp3\n", "text/plain", "http://h/x", False),
        (b"404 not found", "text/plain", "http://h/x.mp3", False),
        (b"# nothing\n", "audio/mpegurl", "http://h/x.m3u", False),
    ],
)
def test_text_may_be_a_list(head: bytes, content_type: str, url: str, may_be: bool) -> None:
    assert may_be_list(head, content_type, url) == may_be


def test_the_text_of_a_list() -> None:
    assert read_list(io.BytesIO("\ufeffé".encode())) == "é"
    assert read_list(io.BytesIO(b"caf\xe9.mp3")) == "café.mp3"
    with pytest.raises(SourceError, match="longer than 1 MiB"):
        read_list(io.BytesIO(b"x" * ((1 << 20) + 1)))


# --- playing ------------------------------------------------------------------------------------------------


class Song:
    """Frames of 20 ms; `fails` when it is opened, or behind so many frames."""

    def __init__(
        self,
        frames: int = 5,
        *,
        codec: str = "mp3",
        duration: bool = True,
        skipped: int = 0,
        fails: SourceError | None = None,
    ) -> None:
        self.frames, self.codec, self.duration, self.fails = frames, codec, duration, fails
        self._skipped = skipped
        self.notes = Notes()
        self.packaging = Packaging("MP3")
        self.opened = self.closed = 0
        self.breaks_at: int | None = None
        self._next = 0

    def open(self) -> Probe:
        if self.fails is not None and self.breaks_at is None:
            raise self.fails
        self.opened += 1
        self._next = 0
        duration_us = self.frames * _FRAME_US if self.duration else None
        return Probe(None, AudioTrack(self.codec, b"", 44100, 2), False, True, duration_us)

    def read(self, until_us: int) -> list[Packet]:
        packets: list[Packet] = []
        while self._next < self.frames and (not packets or packets[-1].dts_us < until_us):
            if self._next == self.breaks_at and self.fails is not None:
                if packets:
                    return packets
                raise self.fails
            at_us = self._next * _FRAME_US
            left_us = 0 if self._next < self._skipped else _FRAME_US
            packets.append(Packet(TrackKind.AUDIO, b"", at_us, at_us, True, duration_us=left_us))
            self._next += 1
        return packets

    def seek(self, position_us: int) -> None:
        self._next = min(position_us // _FRAME_US, self.frames)

    def abort(self) -> None:
        pass

    def close(self) -> None:
        self.closed += 1


def _lost(transient: bool = True) -> SourceError:
    return SourceError(Reason.SOURCE_UNREACHABLE, "it cannot be reached", transient=transient)


def _playing(*songs: Song) -> PlaylistSource:
    urls = [f"http://h/{n}" for n in range(len(songs))]

    def look(url: str) -> Song:
        return songs[int(url[-1])]

    return PlaylistSource(urls, (0, songs[0]), Opener(look, lambda: None))


def test_a_list_of_one_live_source_goes_on_behind_what_was_played() -> None:
    live, part = create_autospec(HlsSource, instance=True), Part("http://h/7.ts")
    live.played = part
    opener = Opener(lambda _: live, lambda: None)
    source = PlaylistSource(["http://h/live.m3u8", "http://h/0"], (0, live), opener)
    assert isinstance(source, Resumable)
    assert source.played is part
    source.go_on_behind(part)
    live.go_on_behind.assert_called_once_with(part)
    assert _playing(Song()).played is None


def _times(source: PlaylistSource) -> list[int]:
    """In milliseconds, to the end."""
    times: list[int] = []
    while packets := source.read((times[-1] if times else 0) * 1000 + 50_000):
        times += [packet.dts_us // 1000 for packet in packets]
    assert source.read(1 << 40) == []
    return times


def test_entries_play_once_in_order_on_one_clock() -> None:
    songs = [Song(5), Song(3, duration=False), Song(4)]
    source = _playing(*songs)
    probe = source.open()
    assert (probe.live, probe.duration_us) == (False, None)
    assert _times(source) == [20 * n for n in range(12)]
    source.seek(0)
    assert _times(source) == [20 * n for n in range(12)], "and again, in a loop"
    source.close()
    assert all(song.opened == song.closed for song in songs)


@pytest.mark.parametrize("transient", [True, False])
@pytest.mark.parametrize("where", [0, 1, 2])
def test_an_entry_that_fails_is_left_out(where: int, transient: bool) -> None:
    songs = [Song(5), Song(5)]
    songs.insert(where, Song(fails=_lost(transient)))
    source = _playing(*songs)
    source.open()
    assert _times(source) == [20 * n for n in range(10)]
    (note,) = source.notes.take()
    assert note == f"entry {where + 1} of the list, http://h/{where}, is left out: it cannot be reached"


def test_an_entry_that_breaks_off_is_gone_on_behind() -> None:
    broken = Song(5, fails=_lost())
    broken.breaks_at = 3
    source = _playing(broken, Song(2))
    source.open()
    assert _times(source) == [20 * n for n in range(5)]
    assert source.notes.take()


def test_each_entry_tells_its_track() -> None:
    source = _playing(Song(2), Song(2, codec="flac"), Song(2, codec="aac"))
    source.open()
    packets: list[Packet] = []
    while more := source.read(1 << 40):
        packets += more
    assert [packet.track and packet.track.codec for packet in packets] == [
        "mp3",
        None,
        "flac",
        None,
        "aac",
        None,
    ]


def test_sound_goes_on_where_it_ended() -> None:
    """What an encoder puts before it, and is left out, is no time."""
    source = _playing(Song(2), Song(3, skipped=1), Song(2, skipped=1))
    source.open()
    packets: list[Packet] = []
    while more := source.read(1 << 40):
        packets += [packet for packet in more if packet.duration_us]
    assert [packet.pts_us for packet in packets] == [_FRAME_US * n for n in range(5)]


def test_where_nothing_can_be_played_the_failure_is_told() -> None:
    source = _playing(Song(fails=_lost(False)), Song(fails=_lost()))
    with pytest.raises(SourceError) as caught:
        source.open()
    assert caught.value.transient, "another try may help"


def test_several_failures_are_the_way_to_them() -> None:
    """The network is gone: what is left of the list is played when it is back."""
    source = _playing(Song(2), Song(fails=_lost()), Song(fails=_lost()))
    source.open()
    with pytest.raises(SourceError, match="cannot be reached"):
        _times(source)


def test_a_last_entry_that_breaks_off_is_a_loss() -> None:
    broken = Song(5, fails=_lost())
    broken.breaks_at = 3
    source = _playing(Song(2), broken)
    source.open()
    with pytest.raises(SourceError, match="cannot be reached"):
        _times(source)


@pytest.mark.parametrize(("to_ms", "first_ms"), [(0, 0), (60, 60), (100, 100), (150, 140), (200, 200)])
def test_seeking_over_entries(to_ms: int, first_ms: int) -> None:
    source = _playing(Song(5), Song(4), Song(3))
    source.open()
    for begin in (0, 100_000, 1 << 40):
        while (packets := source.read(begin)) and packets[-1].dts_us < begin:
            pass
        source.seek(to_ms * 1000)
        assert _times(source) == list(range(first_ms, 240, 20))


def test_an_entry_that_does_not_tell_its_length_is_read_through() -> None:
    source = _playing(Song(5, duration=False), Song(4))
    source.open()
    source.seek(140_000)
    assert _times(source) == [20 * n for n in range(9)], "up to the position, too"
