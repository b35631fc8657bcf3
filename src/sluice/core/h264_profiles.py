"""The profiles of H.264 (ITU-T H.264 A.2): their names, and which of them all browsers show."""

_BASELINE, _MAIN, _HIGH = 66, 77, 100
#: By profile_idc.
_TITLES = {
    _BASELINE: "Baseline",
    _MAIN: "Main",
    88: "Extended",
    _HIGH: "High",
    110: "High 10",
    122: "High 4:2:2",
    244: "High 4:4:4 Predictive",
}
#: The second byte of a parameter set: the stream keeps to what Main has, too (A.2.1).
_CONSTRAINED = 0x40
#: 8 bits and 4:2:0. Decoders in hardware, and that of Firefox, have no others.
_SHOWN = frozenset({_BASELINE, _MAIN, _HIGH})


def profile_title(profile_idc: int, constraints: int) -> str:
    """The name of a profile, or its number where it has none. `constraints` is the next byte."""
    title = _TITLES.get(profile_idc, str(profile_idc))
    return f"Constrained {title}" if profile_idc == _BASELINE and constraints & _CONSTRAINED else title


def profile_bytes(record: bytes) -> tuple[int, int] | None:
    """`profile_idc` and constraints of an AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.3.3.1); None if
    the record is too short."""
    return (record[1], record[2]) if len(record) >= 4 else None


def is_shown(profile_idc: int) -> bool:
    """Whether all browsers show pictures of this profile."""
    return profile_idc in _SHOWN
