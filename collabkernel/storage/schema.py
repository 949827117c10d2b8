"""Brings a database to the newest schema, whoever else opens it at the same moment.

The version is read first: Alembic, which takes 0.1 s to import, is needed only when something is to be done.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from collabkernel.errors import StorageError

HEAD = "0007"
"""Revision of the newest migration."""
MIGRATIONS = Path(__file__).parent / "migrations"

# Any number that no one else uses for an advisory lock in the same PostgreSQL database.
_LOCK_KEY = 0x636F6C6C61626B


def is_current(connection: Connection) -> bool:
    """Whether nothing is to be done.

    Raises:
        StorageError: If a newer collabkernel made this schema.
    """
    revision = _revision(connection)
    if revision is not None and revision > HEAD:
        raise StorageError(
            f"this database has schema {revision}, and this collabkernel knows {HEAD}: "
            "a newer version has opened it; upgrade collabkernel, or choose another database"
        )
    return revision == HEAD


def upgrade(connection: Connection) -> None:
    """Run what migrations are missing, inside the connection's transaction.

    On SQLite that transaction holds the write lock already (``BEGIN IMMEDIATE``), on PostgreSQL an advisory lock is
    taken here; so a second process waits, and then finds nothing to do.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
    if is_current(connection):
        return
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(MIGRATIONS))
    context = MigrationContext.configure(
        connection,
        # The name has an underscore, and is the one that Alembic's own documentation of ``fn`` gives.
        opts={"fn": lambda revision, _: script._upgrade_revs("head", revision)},
    )
    with context.begin_transaction():
        context.run_migrations(op=Operations(context))


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision
