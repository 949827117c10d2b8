"""Rooms, their op log, sites, refusals and snapshots."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

_key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_sorted_text = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade(op: Operations) -> None:
    """Make every table."""
    _create_rooms_and_ops(op)
    _create_sites_and_refusals(op)
    _create_snapshots_and_blobs(op)


def _column(name: str, type_: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, type_, nullable=False)


def _foreign_key(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["room"], ["rooms.key"], name=f"fk_{table}_room", ondelete="CASCADE")


def _create_rooms_and_ops(op: Operations) -> None:
    op.create_table(
        "rooms",
        sa.Column("key", _key, nullable=False, autoincrement=True),
        _column("id", _sorted_text),
        _column("seq", sa.BigInteger()),
        _column("hlc", sa.BigInteger()),
        _column("created_ms", sa.BigInteger()),
        _column("updated_ms", sa.BigInteger()),
        _column("snapshot_seq", sa.BigInteger()),
        sa.PrimaryKeyConstraint("key", name="pk_rooms"),
        sa.UniqueConstraint("id", name="uq_rooms_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "ops",
        _column("room", _key),
        _column("seq", sa.BigInteger()),
        _column("site", sa.BigInteger()),
        _column("counter", sa.BigInteger()),
        _column("first_counter", sa.BigInteger()),
        _column("base", sa.BigInteger()),
        _column("hlc", sa.BigInteger()),
        _column("actor", sa.Text()),
        _column("kind", sa.Integer()),
        _column("payload", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("room", "seq", name="pk_ops"),
        sa.UniqueConstraint("room", "site", "counter", name="uq_ops_room_site_counter"),
        _foreign_key("ops"),
        sqlite_with_rowid=False,
    )


def _create_sites_and_refusals(op: Operations) -> None:
    op.create_table(
        "sites",
        _column("room", _key),
        _column("site", sa.BigInteger()),
        _column("actor", sa.Text()),
        _column("kind", sa.Integer()),
        _column("epoch", sa.BigInteger()),
        _column("secret_hash", sa.LargeBinary()),
        _column("refused_counter", sa.BigInteger()),
        _column("closed", sa.Boolean()),
        _column("created_ms", sa.BigInteger()),
        _column("resumed_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("room", "site", name="pk_sites"),
        _foreign_key("sites"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "refusals",
        _column("room", _key),
        _column("site", sa.BigInteger()),
        _column("counter", sa.BigInteger()),
        _column("ops_count", sa.BigInteger()),
        _column("code", sa.Text()),
        _column("reason", sa.Text()),
        sa.PrimaryKeyConstraint("room", "site", "counter", name="pk_refusals"),
        _foreign_key("refusals"),
        sqlite_with_rowid=False,
    )


def _create_snapshots_and_blobs(op: Operations) -> None:
    op.create_table(
        "snapshots",
        _column("room", _key),
        _column("seq", sa.BigInteger()),
        _column("manifest", sa.Text()),
        _column("created_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("room", "seq", name="pk_snapshots"),
        _foreign_key("snapshots"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "blobs",
        _column("room", _key),
        _column("hash", sa.Text()),
        _column("data", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("room", "hash", name="pk_blobs"),
        _foreign_key("blobs"),
    )
