"""AAC's AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1): the sampling rate and the channels of a stream."""

from dataclasses import dataclass

_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
#: Channels by channelConfiguration (table 1.19). 0 leaves them to the stream, which usually has 2.
_CHANNELS = (2, 1, 2, 3, 4, 5, 6, 8)
_SBR, _PS, _ESCAPE = 5, 29, 31
#: Audio object types (table 1.17), as FFmpeg names them.
_PROFILES = {1: "Main", 2: "LC", 3: "SSR", 4: "LTP", _SBR: "HE-AAC", 23: "LD", _PS: "HE-AACv2", 39: "ELD"}


class AacError(ValueError):
    """Bytes that are no AudioSpecificConfig."""


@dataclass(frozen=True, slots=True)
class AacConfig:
    """`sample_rate` (Hz) and `channels` of the decoder's output, as far as they are signalled explicitly."""

    object_type: int
    sample_rate: int
    channels: int

    @property
    def profile(self) -> str:
        """For people; empty for what has no name."""
        return _PROFILES.get(self.object_type, "")

    @classmethod
    def parse(cls, config: bytes) -> "AacConfig":
        """Raises AacError."""
        value, left = int.from_bytes(config, "big"), len(config) * 8

        def take(count: int) -> int:
            nonlocal left
            left -= count
            if left < 0:
                raise AacError("the AAC configuration is cut off")
            return (value >> left) & ((1 << count) - 1)

        def take_object_type() -> int:
            object_type = take(5)
            return 32 + take(6) if object_type == _ESCAPE else object_type

        def take_rate() -> int:
            index = take(4)
            rate = take(24) if index == 15 else _RATES[index] if index < len(_RATES) else 0
            if not rate:
                raise AacError("the AAC configuration gives no valid sampling rate")
            return rate

        object_type, rate, layout = take_object_type(), take_rate(), take(4)
        if layout >= len(_CHANNELS):
            raise AacError(f"the AAC configuration gives an unknown channel layout ({layout})")
        channels = _CHANNELS[layout]
        if object_type in (_SBR, _PS):
            # Explicit hierarchical signalling: the extension's rate is that of the output.
            return cls(object_type, take_rate(), 2 if object_type == _PS else channels)
        return cls(object_type, rate, channels)
