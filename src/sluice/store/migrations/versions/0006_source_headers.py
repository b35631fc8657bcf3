"""Headers of requests to the sources of an app's tasks."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("apps", sa.Column("user_agent", sa.Text, nullable=False, server_default=sa.text("''")))
    op.add_column("apps", sa.Column("headers", sa.JSON, nullable=False, server_default=sa.text("'{}'")))
