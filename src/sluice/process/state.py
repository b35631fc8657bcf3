"""Whether this node takes new work: not any more once it is being stopped.

What it has goes on meanwhile, and is left for its next start.
"""

from sluice.core.errors import Draining


class NodeState:
    def __init__(self) -> None:
        self._draining = False

    @property
    def draining(self) -> bool:
        return self._draining

    def drain(self) -> None:
        """For good."""
        self._draining = True

    def admit(self) -> None:
        """To be called before anything new is begun. Raises Draining."""
        if self._draining:
            raise Draining
