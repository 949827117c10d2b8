"""The op log, snapshots and sites: a protocol, its memory twin, and SQLAlchemy."""
