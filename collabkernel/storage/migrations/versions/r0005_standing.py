"""Which of two databases a room is in, while rooms move from one to the other."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0005"
down_revision = "0004"


def upgrade(op: Operations) -> None:
    """Add the column and the table; all rooms and files are here so far."""
    op.add_column("rooms", sa.Column("standing", sa.Integer(), nullable=False, server_default="0"))
    placement = op.create_table(
        "placement",
        sa.Column("key", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("first_share", sa.Integer(), nullable=False),
        sa.Column("end_share", sa.Integer(), nullable=False),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_placement"),
    )
    op.bulk_insert(placement, [{"key": 1, "first_share": 0, "end_share": 10_000, "files": 0, "peer": ""}])
