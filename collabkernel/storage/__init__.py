"""The op log, snapshots and sites: a protocol, its memory twin, and SQLAlchemy."""

from __future__ import annotations

from collabkernel.storage.base import Storage


def open_storage(url: str, durable: bool = True, blob_url: str = "", migrate_to_url: str = "") -> Storage:
    """A storage for a database URL; call its ``open()`` before anything else.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``postgresql://user@host/database``, or
            ``memory://`` for a database in this process that ends with it.
        durable: Whether an append waits for the disk. Without, a power cut may take the last moments of
            acknowledged work; ``Storage.is_durable`` is then False and acks say ``buffered``.
        blob_url: Where large parts of snapshots are, as ``file:///srv/blobs`` or ``s3://bucket/prefix`` (``blobs``);
            empty for the database. Rooms in memory have them there.
        migrate_to_url: A database that rooms are being moved to; empty for none.

    Raises:
        StorageError: If a URL names nothing that we know, or its driver is not installed.
    """
    if url.split(":", 1)[0] == "memory":
        from collabkernel.storage.memory import MemoryStorage

        return MemoryStorage()
    # SQLAlchemy takes 0.3 s to import; rooms in memory do without.
    from collabkernel.storage.blobs import BlobStore
    from collabkernel.storage.sql import SqlStorage

    old, *others = [
        SqlStorage(each, durable, blobs=BlobStore(blob_url) if blob_url else None)
        for each in (url, migrate_to_url)
        if each
    ]
    if not others:
        return old
    from collabkernel.storage.migrating import MigratingStorage

    return MigratingStorage(old, *others)
