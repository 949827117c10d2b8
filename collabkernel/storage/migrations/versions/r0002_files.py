"""Leases, files with their last saved contents, named versions, and how far a room's log was dropped."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

_key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_sorted_text = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade(op: Operations) -> None:
    """Add the columns of compaction, and make the new tables."""
    op.add_column("rooms", _counter("dropped_seq"))
    op.add_column("sites", _counter("dropped_counter"))
    _create_versions(op)
    op.create_table(
        "leases",
        _column("name", sa.Text()),
        _column("holder", sa.Text()),
        _column("token", sa.BigInteger()),
        _column("expires_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    _create_files(op)


def _column(name: str, type_: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, type_, nullable=False)


def _counter(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")


def _create_versions(op: Operations) -> None:
    op.create_table(
        "versions",
        _column("room", _key),
        _column("seq", sa.BigInteger()),
        _column("name", sa.Text()),
        _column("created_ms", sa.BigInteger()),
        _column("size_bytes", sa.BigInteger()),
        _column("data", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("room", "seq", name="pk_versions"),
        sa.ForeignKeyConstraint(["room"], ["rooms.key"], name="fk_versions_room", ondelete="CASCADE"),
    )


def _create_files(op: Operations) -> None:
    op.create_table(
        "files",
        _column("id", sa.Text()),
        _column("path", _sorted_text),
        _column("deleted", sa.Boolean()),
        _column("updated_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
    )
    is_there = sa.column("deleted", sa.Boolean()).is_(False)
    op.create_index("uq_files_path", "files", ["path"], unique=True, sqlite_where=is_there, postgresql_where=is_there)
    op.create_table(
        "saves",
        _column("file", sa.Text()),
        _column("view", sa.Text()),
        _column("hash", sa.Text()),
        _column("seq", sa.BigInteger()),
        _column("intents", sa.Text()),
        _column("updated_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("file", "view", name="pk_saves"),
        sa.ForeignKeyConstraint(["file"], ["files.id"], name="fk_saves_file", ondelete="CASCADE"),
    )
    op.create_table(
        "save_bases",
        _column("file", sa.Text()),
        _column("view", sa.Text()),
        _column("data", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("file", "view", name="pk_save_bases"),
        sa.ForeignKeyConstraint(
            ["file", "view"], ["saves.file", "saves.view"], name="fk_save_bases_file_view", ondelete="CASCADE"
        ),
    )
