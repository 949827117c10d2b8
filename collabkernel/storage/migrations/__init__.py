"""Alembic migrations of the schema, oldest first, in ``versions/``.

A migration is a module ``rNNNN_what.py`` with ``revision``, ``down_revision`` and ``upgrade(op)``. It gets Alembic's
``Operations`` as its argument rather than through ``alembic.op``: that proxy is global to the process, and two
databases may be opened at once. A released migration is never edited. The newest's revision is ``schema.HEAD``.
"""
