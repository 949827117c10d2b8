"""Where a snapshot's blob is outside the database, and the name under which this database has blobs there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0004"
down_revision = "0003"


def upgrade(op: Operations) -> None:
    """Add the column; all blobs are in the database so far."""
    op.add_column("blobs", sa.Column("place", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "blob_space",
        sa.Column("key", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_blob_space"),
    )
