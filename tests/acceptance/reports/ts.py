"""MPEG-TS as a list of packets: what tests take out, put elsewhere, and cut without regard to key frames."""

from collections.abc import Iterator

PACKET = 188
_JUMP_S = 2.0
PAT, PMT, VIDEO, AUDIO = 0, 0x1000, 0x100, 0x101  #: as ffmpeg numbers them


def packets_of(data: bytes) -> list[bytes]:
    return [data[at : at + PACKET] for at in range(0, len(data), PACKET)]


def pid_of(packet: bytes) -> int:
    return (packet[1] & 0x1F) << 8 | packet[2]


def tables_of(packets: list[bytes]) -> bytes:
    """The first PAT and PMT."""
    return b"".join(next(p for p in packets if pid_of(p) == pid) for pid in (PAT, PMT))


def clock_of(packet: bytes) -> float | None:
    """Seconds of the packet's PCR."""
    if not (packet[3] & 0x20 and packet[4] and packet[5] & 0x10):
        return None
    base = int.from_bytes(packet[6:11], "big") >> 7
    return base / 90_000


def by_time(data: bytes, seconds: float) -> Iterator[list[bytes]]:
    """Cut by the clock, wherever that is; where it jumps, it goes on from there."""
    part: list[bytes] = []
    before_s, passed_s, cuts = None, 0.0, 1
    for packet in packets_of(data):
        clock_s = clock_of(packet)
        if clock_s is not None:
            step_s = 0.0 if before_s is None else clock_s - before_s
            passed_s += step_s if 0 <= step_s < _JUMP_S else 0.0
            before_s = clock_s
            while passed_s + 1e-6 >= cuts * seconds:
                yield part
                part, cuts = [], cuts + 1
        part.append(packet)
    yield part
