"""The first tables: apps and their keys, tasks, outbox. There is no way back: restore a backup instead."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _make_apps()
    _make_tasks()
    _make_outbox()


def _make_apps() -> None:
    op.create_table(
        "apps",
        sa.Column("app_id", sa.Text, primary_key=True),
        sa.Column("app_key", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_table(
        "access_keys",
        sa.Column("access_key", sa.Text, primary_key=True),
        sa.Column("secret_key", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_table(
        "access_key_apps",
        sa.Column(
            "access_key",
            sa.Text,
            sa.ForeignKey("access_keys.access_key", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("app_id", sa.Text, sa.ForeignKey("apps.app_id", ondelete="CASCADE"), primary_key=True),
    )


def _make_tasks() -> None:
    texts = ("kind", "dialect", "app_id", "room_id", "task_id", "user_id", "business_id")
    op.create_table(
        "tasks",
        sa.Column("id", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("reason_text", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("expires_at", sa.Double),
        sa.Column("position_us", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("pass_number", sa.Integer, nullable=False, server_default="0"),
        sa.Column("plan", sa.JSON),
        sa.CheckConstraint(
            "(ended_at IS NOT NULL) = (state IN ('ended', 'failed'))", name="tasks_end_when_over"
        ),
    )
    live = sa.text("ended_at IS NULL")
    op.create_index(
        "tasks_one_live_run",
        "tasks",
        ["kind", "app_id", "room_id", "task_id"],
        unique=True,
        sqlite_where=live,
        postgresql_where=live,
    )
    op.create_index("tasks_by_room", "tasks", ["app_id", "room_id", "created_at"])
    op.create_index("tasks_by_age", "tasks", ["created_at"])
    op.create_index("tasks_by_end", "tasks", ["ended_at"])


def _make_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
        ),
        sa.Column("event_id", sa.Text, nullable=False, unique=True),
        sa.Column("run_id", sa.Text, sa.ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
        sa.Column("app_id", sa.Text, nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_run_id", "outbox", ["run_id"])
