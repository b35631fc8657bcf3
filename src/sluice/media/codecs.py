"""Which codecs of the installed FFmpeg sources and conversions need."""

from dataclasses import dataclass

import av
from av.codec import Codec
from av.codec.codec import UnknownCodecError


@dataclass(frozen=True, slots=True)
class Wanted:
    """`mode` is `r` for a decoder, `w` for an encoder. `needed`: without it most relays do not play."""

    name: str
    mode: str
    purpose: str
    needed: bool = True

    @property
    def what(self) -> str:
        return f"{'decoder' if self.mode == 'r' else 'encoder'} {self.name}"


_WANTED = (
    Wanted("h264", "r", "transcoding"),
    Wanted("libx264", "w", "transcoding"),
    Wanted("aac", "r", "the sound of most sources"),
    Wanted("aac", "w", "a push"),
    Wanted("libopus", "w", "all sound that is no Opus"),
    Wanted("libopus", "r", "a push"),
    Wanted("hevc", "r", "HEVC", needed=False),
    Wanted("mp3float", "r", "MP3", needed=False),
    Wanted("flac", "r", "FLAC", needed=False),
)


def missing_codecs() -> list[Wanted]:
    return [wanted for wanted in _WANTED if not _is_there(wanted)]


def versions() -> str:
    """PyAV's and libavcodec's."""
    return f"PyAV {av.__version__}, libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"


def _is_there(wanted: Wanted) -> bool:
    try:
        Codec(wanted.name, wanted.mode)  # type: ignore[arg-type]  # both texts are modes
    except UnknownCodecError:
        return False
    return True
