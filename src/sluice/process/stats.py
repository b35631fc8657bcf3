"""A child tells the node its figures, once a second, and the log what it drops, once a minute."""

import asyncio
import time
from collections.abc import Callable

import structlog

from sluice.core.drops import DropCounter
from sluice.core.figures import DROPPED, Values
from sluice.process.control import Stats
from sluice.process.load import LoadMeter
from sluice.process.owned import own

log = structlog.get_logger()

_EVERY_S = 1.0


def tell_stats(
    notify: Callable[[Stats], None],
    read: Callable[[], tuple[Values, Values]],
    drops: DropCounter | None = None,
) -> "asyncio.Task[None]":
    """From now on `notify` gets what `read` returns (totals, and present values), what was dropped if this
    process drops anything, and its load."""
    meter = LoadMeter()
    counter = drops if drops is not None else DropCounter()

    def tell_once() -> None:
        totals, gauges = read()
        totals = {**totals, DROPPED.name: counter.counts, **meter.totals()}
        notify(Stats(totals=totals, gauges={**gauges, **meter.gauges()}))
        for rule, count in counter.due(time.monotonic()):
            log.info("x dropped", rule=rule.code, count=count, why=rule.text)

    async def tell() -> None:
        measuring = meter.start()
        try:
            while True:
                tell_once()
                await asyncio.sleep(_EVERY_S)
        finally:
            measuring.cancel()

    return own(tell(), "the telling of figures")
