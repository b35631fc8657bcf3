"""A child tells the node its figures, once a second."""

import asyncio
from collections.abc import Callable

from sluice.core.figures import Values
from sluice.process.control import Message, Stats
from sluice.process.load import LoadMeter
from sluice.process.owned import own

_EVERY_S = 1.0


def tell_stats(
    notify: Callable[[Message], None], read: Callable[[], tuple[Values, Values]]
) -> "asyncio.Task[None]":
    """From now on `notify` gets what `read` returns (totals, and present values), and this process's load."""
    meter = LoadMeter()
    meter.start()

    async def tell() -> None:
        while True:
            totals, gauges = read()
            notify(Stats(totals={**totals, **meter.totals()}, gauges={**gauges, **meter.gauges()}))
            await asyncio.sleep(_EVERY_S)

    return own(tell(), "the telling of figures")
