"""Who goes first when there are too few cores: the nice values of this node's processes."""

import os
from contextlib import suppress


def may_go_before_others() -> bool:
    """Whether processes of ours may have a better nice value than this one (setpriority(2))."""
    own = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, own - 1)
    except OSError:
        return False
    os.setpriority(os.PRIO_PROCESS, 0, own)
    return True


def yield_to_others(nice: int) -> None:
    """Changes the nice value of this process, which has no threads yet; less than 0 goes before others."""
    with suppress(OSError):  # it is not permitted after all: then it goes as others do
        os.nice(nice)
