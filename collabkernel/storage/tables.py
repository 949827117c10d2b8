"""The tables of a database of rooms. ``migrations/`` makes them; a test holds both to the same.

``ops`` refers to a room by a small integer, and keeps its rows in (room, seq) order (clustered on SQLite), so that a
read of a log is one walk. An operation's row repeats its envelope's fields: any row can be read alone.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

# Only an INTEGER primary key counts by itself on SQLite.
_Key = BigInteger().with_variant(Integer, "sqlite")
# Rooms are listed by code points everywhere, not by the language of one server.
_SortedText = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def _room() -> Column[int]:
    return Column("room", _Key, ForeignKey("rooms.key", ondelete="CASCADE"), primary_key=True)


rooms = Table(
    "rooms",
    metadata,
    Column("key", _Key, primary_key=True, autoincrement=True),
    Column("id", _SortedText, nullable=False, unique=True),
    Column("seq", BigInteger, nullable=False),
    Column("hlc", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("snapshot_seq", BigInteger, nullable=False),
    # Compaction took the operations up to here; the newest snapshot is above.
    Column("dropped_seq", BigInteger, nullable=False, server_default="0"),
    # standing.HERE, or where else its truth is while it moves to another database.
    Column("standing", Integer, nullable=False, server_default="0"),
    # Of the last operation that purged: what is appended must have seen it.
    Column("purged_seq", BigInteger, nullable=False, server_default="0"),
    sqlite_autoincrement=True,  # the key of a deleted room is never used again
)

# One row: what this database has of all rooms and files while they move to another one (``standing``).
placement = Table(
    "placement",
    metadata,
    Column("key", Integer, primary_key=True, autoincrement=False),
    # Rooms of the shares from the first to before the end may be made here.
    Column("first_share", Integer, nullable=False),
    Column("end_share", Integer, nullable=False),
    Column("files", Integer, nullable=False),  # the standing of all files
    Column("peer", Text, nullable=False),  # the other database's name (blob_space); empty for none
)

ops = Table(
    "ops",
    metadata,
    _room(),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("site", BigInteger, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("first_counter", BigInteger, nullable=False),
    Column("base", BigInteger, nullable=False),
    Column("hlc", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("kind", Integer, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    UniqueConstraint("room", "site", "counter"),
    sqlite_with_rowid=False,
)

sites = Table(
    "sites",
    metadata,
    _room(),
    Column("site", BigInteger, primary_key=True, autoincrement=False),
    Column("actor", Text, nullable=False),
    Column("kind", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    # The last counter that was refused for good; the log knows the last one stored, so appends do not write here.
    Column("refused_counter", BigInteger, nullable=False),
    Column("closed", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("resumed_ms", BigInteger, nullable=False),
    # The last counter of it that compaction took out of the log.
    Column("dropped_counter", BigInteger, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)

refusals = Table(
    "refusals",
    metadata,
    _room(),
    Column("site", BigInteger, primary_key=True, autoincrement=False),
    Column("counter", BigInteger, primary_key=True, autoincrement=False),
    Column("ops_count", BigInteger, nullable=False),
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    sqlite_with_rowid=False,
)

snapshots = Table(
    "snapshots",
    metadata,
    _room(),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    # JSON: partition to the SHA-256, in hexadecimal, of its state.
    Column("manifest", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

blobs = Table(
    "blobs",
    metadata,
    _room(),
    Column("hash", Text, primary_key=True),
    Column("data", LargeBinary, nullable=False),  # zstd; empty where the blob is outside
    Column("place", Text, nullable=False, server_default=""),  # in a BlobStore; empty where it is here
)

# One row: the folder of this database in a BlobStore, so that two databases in one store leave each other's alone.
blob_space = Table(
    "blob_space",
    metadata,
    Column("key", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    _room(),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),  # empty for one that nobody named
    Column("created_ms", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),  # of data
    Column("data", LargeBinary, nullable=False),  # zstd
)

# The row with the empty name has the highest token of the rows that went.
leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
)

# What nobody has spent yet.
tickets = Table(
    "tickets",
    metadata,
    Column("digest", LargeBinary, primary_key=True),  # SHA-256 of the secret
    Column("room", Text, nullable=False),  # by name: it need not exist yet
    Column("actor", Text, nullable=False),
    Column("user", Text, nullable=False),  # JSON
    Column("role", Integer, nullable=False),
    Column("origin", Text, nullable=False),  # empty for none
    Column("expires_ms", BigInteger, nullable=False),  # by the database's clock
)

Index("ix_tickets_expires_ms", tickets.c.expires_ms)

files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("path", _SortedText, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
)
Index(
    "uq_files_path",
    files.c.path,
    unique=True,
    sqlite_where=files.c.deleted.is_(False),
    postgresql_where=files.c.deleted.is_(False),
)

# The last save of each view of a file.
saves = Table(
    "saves",
    metadata,
    Column("file", Text, ForeignKey("files.id", ondelete="CASCADE"), primary_key=True),
    Column("view", Text, primary_key=True),
    Column("hash", Text, nullable=False),  # empty before the first
    Column("seq", BigInteger, nullable=False),
    Column("intents", Text, nullable=False),  # hashes, with spaces between
    Column("updated_ms", BigInteger, nullable=False),
)

# Beside the save's row, so that an intent does not write it again.
save_bases = Table(
    "save_bases",
    metadata,
    Column("file", Text, primary_key=True),
    Column("view", Text, primary_key=True),
    Column("data", LargeBinary, nullable=False),  # zstd
    ForeignKeyConstraint(["file", "view"], ["saves.file", "saves.view"], ondelete="CASCADE"),
)
