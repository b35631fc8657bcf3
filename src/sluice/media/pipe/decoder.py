"""FFmpeg's decoders as pipes open them."""

from typing import TypeVar

import av
from av.codec.context import CodecContext

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason

C = TypeVar("C", bound=CodecContext)


def open_decoder(codec: str, extradata: bytes, kind: type[C]) -> C:
    """Raises SourceError (permanent) when nothing decodes this codec."""
    try:
        decoder = av.CodecContext.create(codec, "r")
    except (av.FFmpegError, ValueError) as error:
        raise SourceError(
            Reason.SOURCE_UNSUPPORTED, f"no decoder for the codec {codec}", transient=False
        ) from error
    assert isinstance(decoder, kind)  # noqa: S101 - the demuxer knows video from audio
    decoder.extradata = extradata or None
    decoder.thread_count = 1  # one session shall not take the cores of all others
    return decoder
