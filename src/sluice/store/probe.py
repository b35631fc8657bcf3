"""Whether the store answers: asked with a change that changes nothing, for which the database is locked and
unlocked as for any other."""

from sqlalchemy import Connection

from sluice.core.errors import SluiceError
from sluice.process.asked import Asked
from sluice.store.thread import Store

_FRESH_S = 1.0
_PATIENCE_S = 2.0


class StoreProbe:
    """Many may ask at once; the store is asked once a second at most."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ask = Asked(lambda: store.run(_nothing), "the store", fresh_s=_FRESH_S, patience_s=_PATIENCE_S)

    async def trouble(self) -> str | None:
        """Why the store takes no changes, or soon will not, within 2 s; None if it does."""
        if (why := self._store.trouble()) is not None:
            return why
        try:
            await self._ask()
        except (SluiceError, TimeoutError) as error:
            return str(error)
        return None


def _nothing(conn: Connection) -> None:
    """The transaction is what matters."""
