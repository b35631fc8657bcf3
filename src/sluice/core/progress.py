"""Progress of work that takes time, as it is told to whoever shows it."""

from collections.abc import Callable

#: Takes what is being done, how much of it is done, and how much there is; 0: nobody knows.
Progress = Callable[[str, int, int], None]


def untold(doing: str, done: int, total: int) -> None:
    """Tells nobody."""
