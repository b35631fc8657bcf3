"""The tables. Migrations are written by hand beside this; a test compares the two.

Nothing here is SQLite's alone: what a database does in its own way (partial index, row numbers) is declared
for both. Times are Unix seconds. A task has an end (`ended_at`) exactly when it is over, so that
"live" is `ended_at IS NULL` everywhere, and the indexes can use it.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)

from sluice.core.push import PushStage

metadata = MetaData()

apps = Table(
    "apps",
    metadata,
    Column("app_id", Text, primary_key=True),
    Column("app_key", Text, nullable=False),
    Column("created_at", Double, nullable=False),
)

access_keys = Table(
    "access_keys",
    metadata,
    Column("access_key", Text, primary_key=True),
    Column("secret_key", Text, nullable=False),
    Column("created_at", Double, nullable=False),
)

#: Which apps an access key may reach.
access_key_apps = Table(
    "access_key_apps",
    metadata,
    Column("access_key", ForeignKey("access_keys.access_key", ondelete="CASCADE"), primary_key=True),
    Column("app_id", ForeignKey("apps.app_id", ondelete="CASCADE"), primary_key=True),
)

_LIVE = text("ended_at IS NULL")

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
    Column("stage", Text, nullable=False, server_default=PushStage.NONE.code),
    CheckConstraint("(ended_at IS NOT NULL) = (state IN ('ended', 'failed'))", name="tasks_end_when_over"),
    # contract/volcengine.md 7.1: one live run per identity.
    Index(
        "tasks_one_live_run",
        *("kind", "app_id", "room_id", "task_id"),
        unique=True,
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    ),
    Index("tasks_by_room", "app_id", "room_id", "created_at"),
    Index("tasks_by_age", "created_at"),
    Index("tasks_by_end", "ended_at"),
)

#: What is to be told to callers, in order of `id`; written in the transaction of the change it tells of.
outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("event_id", Text, nullable=False, unique=True),
    Column("run_id", ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("app_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("data", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
    # An id is never given twice, also when the newest row was deleted: it stands for the order.
    sqlite_autoincrement=True,
)
