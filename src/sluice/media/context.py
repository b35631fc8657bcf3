"""What all sessions of a media process share, made once by the process."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field

from sluice.core.drops import DropCounter
from sluice.core.figures import Tally
from sluice.media.frame_link import FrameLinks
from sluice.media.pacer import Pacer
from sluice.media.relief import Relief
from sluice.net.dial import Dialer
from sluice.process.control import Message


@dataclass(frozen=True, slots=True)
class MediaContext:
    """`report` sends a message to the node; `tally` and `drops` are what the process has
    counted."""

    dialer: Dialer
    links: FrameLinks
    pacer: Pacer
    executor: Executor  #: threads for sources that are open, and for conversions
    opening: Executor  #: threads for sources that are not open yet
    report: Callable[[Message], None]
    tally: Tally = field(default_factory=Tally)
    drops: DropCounter = field(default_factory=DropCounter)
    relief: Relief = field(default_factory=Relief)
