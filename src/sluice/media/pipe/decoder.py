"""FFmpeg's decoders as pipes open them."""

from typing import TypeVar

import av
from av.codec.context import CodecContext

from sluice.core.errors import unsupported
from sluice.core.limits import MOST_PIXELS
from sluice.core.plan import Track

C = TypeVar("C", bound=CodecContext)
#: Pictures may grow in mid-stream, when no plan is made.
_LIMITS = {"max_pixels": str(MOST_PIXELS)}
#: Codecs whose decoders need nothing but the configuration. They do not use the demuxer's own context, which
#: a jump of the demuxer resets.
_BY_CONFIGURATION = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg2video"}) | frozenset(
    {"mp3", "mp3float", "aac", "flac", "vorbis", "ac3", "eac3", "alac"}
)


def open_decoder(codec: str, extradata: bytes, kind: type[C]) -> C:
    """Raises SourceError (permanent) when nothing decodes this codec."""
    try:
        decoder = av.CodecContext.create(codec, "r")
    except (av.FFmpegError, ValueError) as error:
        raise unsupported(f"no decoder for the codec {codec}") from error
    assert isinstance(decoder, kind)  # noqa: S101 - the demuxer knows video from audio
    decoder.extradata = extradata or None
    decoder.options = _LIMITS
    decoder.thread_count = 1  # one session shall not take the cores of all others
    return decoder


def decoder_of(track: Track, kind: type[C]) -> C:
    """A decoder for this track. For codecs that need more than their configuration, such as the size of
    blocks, it is the demuxer's own. Raises SourceError (permanent)."""
    context = track.context
    if track.codec in _BY_CONFIGURATION or not isinstance(context, kind):
        return open_decoder(track.codec, track.extradata, kind)
    if context.is_open:
        context.flush_buffers()
    else:
        context.options = _LIMITS
        context.thread_count = 1
    return context
