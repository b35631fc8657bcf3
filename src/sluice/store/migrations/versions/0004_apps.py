"""Features of apps, access keys that can be disabled, bans, revisions for nodes that share a database, and an
index for the latest run of a task."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for table, name in (("apps", "relay"), ("apps", "push"), ("access_keys", "enabled")):
        op.add_column(table, sa.Column(name, sa.Boolean, nullable=False, server_default=sa.true()))
    op.add_column("access_keys", sa.Column("session_token", sa.Text))
    columns = ["app_id", "room_id", "task_id", "kind", "created_at"]
    op.create_index("tasks_by_identity", "tasks", columns)
    op.create_table(
        "revisions",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "bans",
        sa.Column("app_id", sa.Text, sa.ForeignKey("apps.app_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("room_id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, primary_key=True),
        sa.Column("until", sa.Double, nullable=False),
    )
