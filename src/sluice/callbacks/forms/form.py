"""What a form of callback does: makes the request of an event, and says when it is tried again."""

from dataclasses import dataclass, field
from typing import Protocol

from sluice.core.callbacks import Registration, RetryPlan
from sluice.core.errors import Culprit, SluiceError
from sluice.store.outbox import OutboxEntry


@dataclass(frozen=True, slots=True)
class Post:
    url: str = field(repr=False)
    headers: dict[str, str]
    body: bytes = field(repr=False)


class NobodyRegistered(SluiceError):
    culprit = Culprit.CALLER


class Form(Protocol):
    retry: RetryPlan

    def render(self, entry: OutboxEntry, registration: Registration | None) -> Post:
        """The same body each time. `registration` is that of the entry's destination; an event that came with
        an address of its own has none. Raises NobodyRegistered when nobody is there to be told."""
        ...
