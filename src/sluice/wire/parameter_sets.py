"""The in-band parameter sets of an H.264 stream, and the configuration record that they make.

Sources: ITU-T H.264 (7.4.1.2.1: the newest set of an id counts) and ISO/IEC 14496-15 (5.3.3.1).
"""

from collections.abc import Iterable

from sluice.wire.h264 import NAL_PPS, NAL_SPS

_MOST_SETS = 31  # the record counts SPS in 5 bits


class ParameterSets:
    """The newest set of each id."""

    def __init__(self) -> None:
        self._sps: dict[int, bytes] = {}
        self._pps: dict[int, bytes] = {}

    def note(self, units: Iterable[bytes | memoryview]) -> None:
        """Takes the sets among these NAL units."""
        for unit in units:
            if unit[0] & 0x1F == NAL_SPS and 5 <= len(unit) < 65536:
                _put(self._sps, _first_ue(unit[4:8]), bytes(unit))
            elif unit[0] & 0x1F == NAL_PPS and 2 <= len(unit) < 65536:
                _put(self._pps, _first_ue(unit[1:5]), bytes(unit))

    def clear(self) -> None:
        self._sps.clear()
        self._pps.clear()

    @property
    def sps(self) -> bytes | None:
        """The first SPS."""
        return next(iter(self._sps.values()), None)

    def sps_of(self, pps_id: int) -> bytes | None:
        """The SPS that the PPS with this id belongs to."""
        pps = self._pps.get(pps_id)
        if pps is None:
            return None
        _, size = _ue(pps[1:9])
        return self._sps.get(_ue(pps[1:9], size)[0])

    @property
    def units(self) -> list[bytes]:
        """All of them, SPS first; empty while one kind is missing."""
        return [*self._sps.values(), *self._pps.values()] if self._sps and self._pps else []

    def record(self) -> bytes:
        """An AVCDecoderConfigurationRecord with length fields of 4 bytes; empty while a set is missing."""
        if not self._sps or not self._pps:
            return b""
        sps, pps = list(self._sps.values()), list(self._pps.values())
        head = bytes((1, *sps[0][1:4], 0xFF, 0xE0 | len(sps)))
        return b"".join((head, *map(_sized, sps), bytes((len(pps),)), *map(_sized, pps)))


def _put(sets: dict[int, bytes], number: int, unit: bytes) -> None:
    if number in sets or len(sets) < _MOST_SETS:
        sets[number] = unit


def _first_ue(data: bytes | memoryview) -> int:
    """The Exp-Golomb code (9.1) at the beginning: the id of a parameter set, in at most 4 bytes."""
    return _ue(data)[0]


def _ue(data: bytes | memoryview, skip: int = 0) -> tuple[int, int]:
    """The Exp-Golomb code behind `skip` bits, and how many bits it has."""
    bits = 64 - skip
    value = int.from_bytes(bytes(data).ljust(8, b"\0"), "big") & ((1 << bits) - 1)
    size = 2 * (bits - value.bit_length()) + 1
    return (value >> max(0, bits - size)) - 1, size


def _sized(unit: bytes) -> bytes:
    return len(unit).to_bytes(2, "big") + unit
