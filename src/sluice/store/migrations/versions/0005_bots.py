"""Bots, channels, and the bot of a task."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "bots",
        sa.Column("bot_id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("app_id", sa.Text, sa.ForeignKey("apps.app_id", ondelete="CASCADE"), nullable=False),
        sa.Column("token_hash", sa.Text, nullable=False, unique=True),
        sa.Column("line", sa.Text, nullable=False),
        sa.Column("rooms", sa.JSON, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "channels",
        sa.Column("app_id", sa.Text, sa.ForeignKey("apps.app_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("channel_id", sa.Text, primary_key=True),
        sa.Column("room_id", sa.Text),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("line", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.add_column("tasks", sa.Column("bot_id", sa.Integer))
    for name, columns, rows in (
        ("tasks_by_bot", ["bot_id", "task_id"], "bot_id IS NOT NULL"),
        ("tasks_live_by_bot", ["bot_id"], "ended_at IS NULL AND bot_id IS NOT NULL"),
    ):
        where = sa.text(rows)
        op.create_index(name, "tasks", columns, sqlite_where=where, postgresql_where=where)
