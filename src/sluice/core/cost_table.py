"""What the parts of a task cost, measured on one machine: ``scripts/bench cost --write`` writes this file.

All figures but those of memory are seconds of CPU time. A machine on which the fixed piece of work of
``sluice.media.speed`` takes half of `speed_s` has the speed 2, and takes half of each.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CostTable:
    """Of the media process, for each second or for each picture; `shared` is of the room process and the
    node, with one viewer."""

    speed_s: float  #: the fixed piece of work
    session: float  #: a relay that plays
    sound_converted: float
    sound_copied: float
    picture_copied: float
    pixel_copied: float  #: more pixels have more bytes, which are what costs
    pixel_decoded: float
    picture_encoded: float
    pixel_encoded: float
    shared_session: float
    shared_sound: float
    shared_picture: float
    shared_pixel: float
    push: float  #: its sound becomes AAC
    push_picture: float
    shared_push: float
    session_mb: float
    copied_mb: float
    transcoded_mb: float
    pixel_mb: float
    push_mb: float


TABLE = CostTable(
    speed_s=0.15,
    session=0.001,
    sound_converted=0.004,
    sound_copied=0.001,
    picture_copied=0.00012,
    pixel_copied=1e-10,
    pixel_decoded=3e-9,
    picture_encoded=0.0004,
    pixel_encoded=1.2e-8,
    shared_session=0.0005,
    shared_sound=0.003,
    shared_picture=0.0002,
    shared_pixel=1e-10,
    push=0.005,
    push_picture=0.0001,
    shared_push=0.002,
    session_mb=3,
    copied_mb=6,
    transcoded_mb=15,
    pixel_mb=3e-5,
    push_mb=6,
)
