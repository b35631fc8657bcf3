"""The closing of what a session has opened, which no cancellation interrupts.

A task is cancelled where it waits, also while it closes: then the rest of its closing would not be done. So
the closing runs in a task of its own, which nobody cancels.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from sluice.process.owned import own

log = structlog.get_logger()

#: Seconds after which nobody waits for a closing any more. Whatever blocks has been told to fail by then.
MOST_S = 10.0


async def until_closed(closing: Coroutine[Any, Any, None], name: str, most_s: float = MOST_S) -> None:
    """Waits until `closing` is done, and raises its error.

    If the caller is cancelled meanwhile, it waits on, and CancelledError is raised afterwards. After `most_s`
    seconds the closing goes on alone in the background.
    """
    loop = asyncio.get_running_loop()
    task = own(closing, name, vital=False)
    give_up_at, cancelled = loop.time() + most_s, False
    while not task.done() and (left_s := give_up_at - loop.time()) > 0:
        try:
            await asyncio.wait({task}, timeout=left_s)
        except asyncio.CancelledError:
            cancelled = True
    if not task.done():
        log.error("x closing", work=name, why=f"not done within {most_s:g} s")
    if cancelled:
        raise asyncio.CancelledError
    if task.done():
        task.result()
