"""Registrations of callbacks, the delivery of events, and when a task's media first flowed.

The outbox is made anew: nobody could register before, so nobody waits for its rows.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("flowed_at", sa.Double))
    flowed = "'running', 'recovering', 'paused', 'stopping'"
    op.execute(f"UPDATE tasks SET flowed_at = started_at WHERE state IN ({flowed})")  # noqa: S608 - constants
    op.create_table(
        "callback_registrations",
        sa.Column("app_id", sa.Text, sa.ForeignKey("apps.app_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("business_id", sa.Text, primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("events", sa.JSON, nullable=False),
        sa.Column("from_config", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
    )
    op.drop_table("outbox")
    _make_outbox()


def _make_outbox() -> None:
    texts = ("app_id", "destination", "order_key", "dialect", "event_type")
    op.create_table(
        "outbox",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
        ),
        sa.Column("event_id", sa.Text, nullable=False, unique=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("first_at", sa.Double),
        sa.Column("next_at", sa.Double),
        sa.Column("settled_at", sa.Double),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    due = sa.text("next_at IS NOT NULL")
    op.create_index(
        "outbox_due",
        "outbox",
        ["destination", "next_at", "id"],
        sqlite_where=due,
        postgresql_where=due,
    )
    op.create_index("outbox_by_key", "outbox", ["order_key", "status", "id"])
    op.create_index("outbox_by_status", "outbox", ["status", "id"])
    op.create_index("outbox_by_end", "outbox", ["status", "settled_at"])
