"""An insert that leaves alone what is there already, on both kinds of databases."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, Table, insert
from sqlalchemy.exc import IntegrityError


def insert_if_new(connection: Connection, table: Table, row: Mapping[str, object]) -> None:
    """Insert a row, unless somebody has inserted one with its keys."""
    try:
        with connection.begin_nested():
            connection.execute(insert(table), row)
    except IntegrityError:
        pass  # Another server has made it since we looked.
