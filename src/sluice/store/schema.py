"""The tables. Migrations are written by hand beside this; a test compares the two.

Nothing here is only for SQLite: features that differ between databases (partial indexes, row numbers) are
declared for both. Times are Unix seconds. A task has an `ended_at` exactly when it is over, so "live" is
`ended_at IS NULL` everywhere, and the indexes can use it.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
    true,
)

from sluice.core.push import PushStage

metadata = MetaData()


def begins_with(column: Column[Any], text: str) -> ColumnElement[bool]:
    """Whether the text of a column begins with this one, which is not empty. An index of the column serves
    it, as none does LIKE, which takes capitals for small letters in SQLite."""
    return (column >= text) & (column < text[:-1] + chr(ord(text[-1]) + 1))


apps = Table(
    "apps",
    metadata,
    Column("app_id", Text, primary_key=True),
    Column("app_key", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("relay", Boolean, nullable=False, server_default=true()),
    Column("push", Boolean, nullable=False, server_default=true()),
    Column("user_agent", Text, nullable=False, server_default=text("''")),
    Column("headers", JSON, nullable=False, server_default=text("'{}'")),
)

access_keys = Table(
    "access_keys",
    metadata,
    Column("access_key", Text, primary_key=True),
    Column("secret_key", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    Column("session_token", Text),
)

#: Which apps an access key may reach.
access_key_apps = Table(
    "access_key_apps",
    metadata,
    Column("access_key", ForeignKey("access_keys.access_key", ondelete="CASCADE"), primary_key=True),
    Column("app_id", ForeignKey("apps.app_id", ondelete="CASCADE"), primary_key=True),
)

#: Counts the changes of data that nodes keep in memory, so that each sees the changes of other processes.
revisions = Table(
    "revisions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
)

#: A ban keeps a user out of a room, everyone out of a room (`user_id` empty) or a user out of all rooms
#: (`room_id` empty).
bans = Table(
    "bans",
    metadata,
    Column("app_id", ForeignKey("apps.app_id", ondelete="CASCADE"), primary_key=True),
    Column("room_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("until", Double, nullable=False),
)

#: The bots, which play into channels. A number is never used twice, even after its bot was deleted, since
#: tasks keep it. `rooms` is a list, empty for all rooms.
bots = Table(
    "bots",
    metadata,
    Column("bot_id", Integer, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False),
    Column("app_id", ForeignKey("apps.app_id", ondelete="CASCADE"), nullable=False),
    Column("token_hash", Text, nullable=False, unique=True),
    Column("line", Text, nullable=False),
    Column("rooms", JSON, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    sqlite_autoincrement=True,
)

#: Channels that a bot made, or that the operator gave a line. `room_id` is null if it is not known.
channels = Table(
    "channels",
    metadata,
    Column("app_id", ForeignKey("apps.app_id", ondelete="CASCADE"), primary_key=True),
    Column("channel_id", Text, primary_key=True),
    Column("room_id", Text),
    Column("name", Text, nullable=False),
    Column("line", Text, nullable=False),
    Column("created_at", Double, nullable=False),
)

_LIVE = text("ended_at IS NULL")
_OF_BOT = text("bot_id IS NOT NULL")
_LIVE_OF_BOT = text("ended_at IS NULL AND bot_id IS NOT NULL")

#: One row per run.
tasks = Table(
    "tasks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("dialect", Text, nullable=False),
    Column("app_id", Text, nullable=False),
    Column("room_id", Text, nullable=False),
    Column("task_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("business_id", Text, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("reason_text", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("expires_at", Double),
    Column("position_us", BigInteger, nullable=False, server_default="0"),
    Column("pass_number", Integer, nullable=False, server_default="0"),
    Column("plan", JSON(none_as_null=True)),
    Column("flowed_at", Double),
    Column("stage", Text, nullable=False, server_default=PushStage.NONE.code),
    Column("bot_id", Integer),
    CheckConstraint("(ended_at IS NOT NULL) = (state IN ('ended', 'failed'))", name="tasks_end_when_over"),
    # docs/contract/volcengine.md 7.1: one live run per identity.
    Index(
        "tasks_one_live_run",
        *("kind", "app_id", "room_id", "task_id"),
        unique=True,
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    ),
    Index("tasks_by_room", "app_id", "room_id", "created_at"),
    Index("tasks_by_identity", "app_id", "room_id", "task_id", "kind", "created_at"),
    Index("tasks_by_age", "created_at"),
    Index("tasks_by_end", "ended_at"),
    Index("tasks_by_bot", "bot_id", "task_id", sqlite_where=_OF_BOT, postgresql_where=_OF_BOT),
    Index("tasks_live_by_bot", "bot_id", sqlite_where=_LIVE_OF_BOT, postgresql_where=_LIVE_OF_BOT),
)

#: Who is told of the events of an app; `business_id` is empty for the registration of the whole app.
callback_registrations = Table(
    "callback_registrations",
    metadata,
    Column("app_id", ForeignKey("apps.app_id", ondelete="CASCADE"), primary_key=True),
    Column("business_id", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("events", JSON, nullable=False),
    Column("from_config", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
)

_DUE = text("next_at IS NOT NULL")

#: Events for callers, in the order of `id`; each is written in the transaction of its change. A row needs no
#: other: it outlives the task and the registration.
outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("event_id", Text, nullable=False, unique=True),
    Column("app_id", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("order_key", Text, nullable=False),
    Column("dialect", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("data", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("first_at", Double),
    Column("next_at", Double),
    Column("settled_at", Double),
    Column("last_error", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Index("outbox_due", "destination", "next_at", "id", sqlite_where=_DUE, postgresql_where=_DUE),
    Index("outbox_by_key", "order_key", "status", "id"),
    Index("outbox_by_status", "status", "id"),
    Index("outbox_by_end", "status", "settled_at"),
    # An id is never used twice, even after the newest row was deleted: ids give the order.
    sqlite_autoincrement=True,
)
