"""Who may not enter which room, and until when.

Each question goes to the database, so that a ban holds on every node at once.
"""

from collections.abc import Callable

from sqlalchemy import Connection, Double, bindparam, delete, func, insert, or_, select

from sluice.core.errors import TooManyBans
from sluice.core.ids import AppId, RoomId, UserId
from sluice.store.schema import bans
from sluice.store.thread import Store

#: Bans of one app that may be in force at once.
MOST_BANS = 10_000

_BARRED = (
    select(bans.c.until)
    .where(bans.c.app_id == bindparam("app_id"))
    .where(bans.c.until > bindparam("now", type_=Double))
    .where(or_(bans.c.room_id == "", bans.c.room_id == bindparam("room_id")))
    .where(or_(bans.c.user_id == "", bans.c.user_id == bindparam("user_id")))
    .limit(1)
)


def is_barred(conn: Connection, app_id: AppId, room_id: RoomId, user_id: UserId, now: float) -> bool:
    """Whether a ban keeps the user out of the room now.

    A ban of a room holds for every user, a ban of a user for every room; no ban is without both.
    """
    values = {"app_id": app_id, "room_id": room_id, "user_id": user_id, "now": now}
    return conn.execute(_BARRED, values).first() is not None


class BanList:
    """Implements rooms.port.Bans."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def ban(
        self, app_id: AppId, room_id: RoomId | None, user_id: UserId | None, until: float | None
    ) -> None:
        now = self._clock()
        values = {"app_id": app_id, "room_id": room_id or "", "user_id": user_id or ""}

        def change(conn: Connection) -> None:
            same = [bans.c[name] == value for name, value in values.items()]
            over = bans.c.until <= now
            conn.execute(delete(bans).where(or_(same[0] & same[1] & same[2], same[0] & over)))
            if until is None:
                return
            in_force = select(func.count()).select_from(bans).where(same[0])
            if conn.execute(in_force).scalar_one() >= MOST_BANS:
                raise TooManyBans(MOST_BANS)
            conn.execute(insert(bans).values(**values, until=until))

        await self._store.run(change)

    async def barred(self, app_id: AppId, room_id: RoomId, user_id: UserId) -> bool:
        now = self._clock()
        return await self._store.run(lambda conn: is_barred(conn, app_id, room_id, user_id, now))
