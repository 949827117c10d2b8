"""The last purge of each room, which what is appended must have seen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

from collabkernel.storage.migrations.versions.r0006_append_next import APPEND_NEXT

revision = "0007"
down_revision = "0006"


def _with_purges() -> str:
    """The function of 0006 with one more parameter: what is asked and what the room has must be one purge."""
    changes = (
        ("p_actor text[], ", "p_actor text[], p_purged_seq bigint[],\n    "),
        ("p_hlc, p_actor) WITH", "p_hlc, p_actor, p_purged_seq) WITH"),
        ("hlc, actor, n)", "hlc, actor, purged_seq, n)"),
        ("SELECT r.key, r.id, r.seq, s.site", "SELECT r.key, r.id, r.seq, r.purged_seq, s.site"),
        ("h.epoch = a.epoch AND", "h.epoch = a.epoch AND h.purged_seq = a.purged_seq AND"),
    )
    function = APPEND_NEXT
    for old, new in changes:
        assert function.count(old) == 1
        function = function.replace(old, new)
    return function


def upgrade(op: Operations) -> None:
    """Add the column, and the function beside the older one, which servers that know of no purge go on calling."""
    op.add_column("rooms", sa.Column("purged_seq", sa.BigInteger(), nullable=False, server_default="0"))
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_with_purges())
