"""Run by alembic: brings the database of `store.thread`'s connection to the newest revision.

There is no alembic.ini; everything happens in the caller's transaction, which keeps a second process out.
"""

from alembic import context

from sluice.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
