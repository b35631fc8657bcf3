"""Chooses the demuxer of a container by its first bytes."""

from sluice.media.packets import TrackKind
from sluice.media.source.demuxer import Demuxer
from sluice.media.source.flv import SIGNATURE, FlvDemuxer
from sluice.media.source.sniff import SniffedFile

Container = Demuxer | FlvDemuxer


def container_for(
    file: SniffedFile, *, live: bool = False, kinds: frozenset[TrackKind] | None = None
) -> Container:
    """A demuxer that is not opened yet."""
    made = FlvDemuxer if file.head.startswith(SIGNATURE) else Demuxer
    return made(file, live=live, kinds=kinds)
