"""What the HTTP surface may ask of the callbacks; `callbacks.service` answers."""

from typing import Protocol

from sluice.core.callbacks import Registration
from sluice.core.ids import AppId, BusinessId


class Callbacks(Protocol):
    async def create(self, registration: Registration) -> None:
        """Durable when it returns, as all changes here. Raises RegistrationRefused if there is one already,
        and BadInput if the app has too many."""
        ...

    async def change(self, registration: Registration) -> None:
        """Replaces address, secret and events. Raises RegistrationRefused."""
        ...

    async def remove(self, app_id: AppId, business_id: BusinessId) -> None:
        """Raises RegistrationRefused."""
        ...

    async def registrations(self, app_id: AppId) -> list[Registration]:
        """All of the app; the one of the whole app comes first."""
        ...

    async def list_documents(
        self, status: str | None, *, limit: int, offset: int, begins: str = "", app_id: AppId | None = None
    ) -> list[dict[str, object]]:
        """Waiting, dead and delivered events, newest first, of one app or of all; with `begins` those whose
        ids begin so."""
        ...

    async def document(self, event_id: str) -> dict[str, object]:
        """One event. Raises CallbackNotFound."""
        ...

    async def replay(self, event_id: str) -> dict[str, object]:
        """Sends an event again, at once and outside the order. Raises CallbackNotFound."""
        ...
