"""What ``sluice demo`` does: shows the sample clip until a signal ends it, or watches it by itself."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

import uvloop

from sluice import demo
from sluice.app import Node, wait_for_signal
from sluice.config import Settings
from sluice.exits import Misuse
from sluice.process.logs import configure_logging
from sluice.progress import shown_progress
from sluice.terminal import flush, print_json, print_text, say

if TYPE_CHECKING:
    from sluice.demo_check import Figures


def run_demo(settings: Settings, *, check: bool, as_json: bool) -> bool:
    """Whether all was well. Raises SluiceError and OSError, and Misuse if the viewer is not installed."""
    measure = _measure() if check else None
    configure_logging(settings.log.level)
    with shown_progress() as tell:
        demo.make_clip_in(settings.data, tell)
    return uvloop.run(_demo(settings, measure, as_json=as_json))


async def _demo(
    settings: Settings, measure: "Callable[[Node], Awaitable[Figures]] | None", *, as_json: bool
) -> bool:
    stopped = wait_for_signal()
    async with demo.running_demo(settings) as (node, page):
        if measure is not None:
            figures = await measure(node)
            if as_json:
                print_json({"ok": figures.good, **asdict(figures)})
            else:
                say(f"{'ok' if figures.good else 'FAILED'}: {figures}")
            return figures.good
        if as_json:
            print_text("url", page, as_json)
        else:
            say(f"See and hear it at {page}")
            say("Ctrl-C ends it.")
        flush()
        await stopped
        return True


def _measure() -> "Callable[[Node], Awaitable[Figures]]":
    try:
        from sluice.demo_check import measure
    except ModuleNotFoundError as error:
        raise Misuse(f"--check: needs {error.name}; install it with: pip install 'sluice[demo]'") from error
    return measure
