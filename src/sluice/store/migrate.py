"""The release of a database: migrations bring an older one up, and a newer one is refused.

There is no way back to an older release but a backup that it made (`store.backup`).
"""

import structlog
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from sluice import __version__
from sluice.store.errors import StoreError

log = structlog.get_logger()


def migrate(engine: Engine, what: str) -> None:
    """Brings the database to this release and says so in the log. `what` names it in errors. Raises
    StoreError for one of a newer release."""
    config = _config()
    newest = newest_revision()
    with engine.begin() as connection:
        before = MigrationContext.configure(connection).get_current_revision()
        if before == newest:
            return
        refuse_newer(before, what)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    if before is not None:
        log.info("the database was migrated", revision_before=before, revision=newest)


def newest_revision() -> str:
    """The revision that this release makes."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None  # noqa: S101 - migrations are in one row
    return revision


def refuse_newer(revision: str | None, what: str) -> None:
    """Raises StoreError for a revision that this release does not know; None is an empty database."""
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if revision is not None and revision not in known:
        raise StoreError(
            f"{what} is of a newer release of sluice: its revision is {revision}, and sluice {__version__} "
            f"knows those up to {newest_revision()}; install that release or a newer one, or go back to a "
            "backup that this release made: sluice restore FILE --force"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "sluice.store:migrations")
    return config
