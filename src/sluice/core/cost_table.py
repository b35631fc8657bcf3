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
    speed_s=0.035,
    session=0,
    sound_converted=0.00941,
    sound_copied=0.00398,
    picture_copied=2.38e-05,
    pixel_copied=2.07e-10,
    pixel_decoded=2.18e-09,
    picture_encoded=0.0019,
    pixel_encoded=5.57e-09,
    shared_session=0,
    shared_sound=0.00178,
    shared_picture=0.000127,
    shared_pixel=1.08e-10,
    push=0.017,
    push_picture=3.3e-05,
    shared_push=0.00187,
    session_mb=1.17,
    copied_mb=5.82,
    transcoded_mb=6.08,
    pixel_mb=1.26e-05,
    push_mb=1.57,
)
