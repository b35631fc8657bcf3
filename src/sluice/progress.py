"""Progress of work that takes time: a bar on standard error, at a terminal alone."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sluice.core.progress import Progress, untold


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Takes the bar away at the end, so that what was printed stands alone."""
    if not sys.stderr.isatty() or os.environ.get("TERM", "") in ("", "dumb"):
        yield untold
        return
    from rich.console import Console  # takes longer than most commands
    from rich.progress import BarColumn, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Bar(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task("", total=None)

        def tell(doing: str, done: int, total: int) -> None:
            bar.update(line, description=doing, completed=done, total=total or None)

        yield tell
