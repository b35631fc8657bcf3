"""An access unit as viewers are sent it: RTP payloads that are numbered once, with headers made once."""

from dataclasses import dataclass

from sluice.rooms.engine.socket import MOST_SEGMENTS
from sluice.wire.rtp import equal_runs, headers


@dataclass(slots=True)
class Frame:
    """One access unit as RTP payloads. `sequence` is extended (never wraps), `number` counts frames."""

    number: int
    sequence: int
    timestamp: int
    clock_us: int
    key: bool
    size: int
    payloads: list[bytes]
    lengths: list[int]
    runs: list[tuple[int, int, int]]
    packed: dict[int, list[bytes]]

    def headers(self, payload_type: int, ssrc: int) -> list[bytes]:
        """The RTP headers for a payload type, made once for all viewers that agreed on it."""
        found = self.packed.get(payload_type)
        if found is None:
            found = headers(payload_type, self.sequence, self.timestamp, ssrc, len(self.payloads))
            self.packed[payload_type] = found
        return found


def runs_of(lengths: list[int]) -> list[tuple[int, int, int]]:
    return [(start, end, lengths[start]) for start, end in equal_runs(lengths, MOST_SEGMENTS)]
