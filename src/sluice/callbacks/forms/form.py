"""A form of callback: it makes the request for an event, and says when a delivery is tried again."""

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
        """The request; its body is the same for each try. `registration` is that of the entry's destination,
        None for an event with an address of its own. Raises NobodyRegistered when nobody is to be told."""
        ...
