"""A child tells the node its figures, once a second, and the log what it drops, once a minute."""

import asyncio
import time
from collections.abc import Callable

import structlog

from sluice.core.drops import DropCounter
from sluice.core.figures import DROPPED, Values
from sluice.process.control import Message, Stats
from sluice.process.load import LoadMeter
from sluice.process.owned import own

log = structlog.get_logger()

_EVERY_S = 1.0


def tell_stats(
    notify: Callable[[Message], None], read: Callable[[], tuple[Values, Values]], drops: DropCounter
) -> "asyncio.Task[None]":
    """From now on `notify` gets what `read` returns (totals, and present values), what was dropped, and this
    process's load."""
    meter = LoadMeter()
    meter.start()

    async def tell() -> None:
        while True:
            totals, gauges = read()
            totals = {**totals, DROPPED.name: drops.counts, **meter.totals()}
            notify(Stats(totals=totals, gauges={**gauges, **meter.gauges()}))
            for rule, count in drops.due(time.monotonic()):
                log.info("x dropped", rule=rule.code, count=count, why=rule.text)
            await asyncio.sleep(_EVERY_S)

    return own(tell(), "the telling of figures")
