"""A process tells the node its figures, once a second."""

import asyncio
from collections.abc import Callable

from sluice.core.figures import Values
from sluice.process.control import Stats
from sluice.process.load import LoadMeter
from sluice.process.owned import own

_EVERY_S = 1.0


def tell_stats(
    notify: Callable[[Stats], None], read: Callable[[], tuple[Values, Values]]
) -> "asyncio.Task[None]":
    """From now on `notify` gets what `read` returns (totals, and present values), and this process's load."""

    async def tell() -> None:
        meter = LoadMeter()
        sampling = meter.start()
        try:
            while True:
                totals, gauges = read()
                notify(Stats(totals={**totals, **meter.totals()}, gauges={**gauges, **meter.gauges()}))
                await asyncio.sleep(_EVERY_S)
        finally:
            sampling.cancel()

    return own(tell(), "the telling of figures")
