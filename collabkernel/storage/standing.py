"""Which of two databases has the truth of a room, while rooms move from one to the other. Over a connection.

A room's row says how it stands in its database::

    (here, -)    it is in one database
    (here, copy) its truth is here, and the other one follows
    (left, copy) it is being moved: nobody writes to it; all of it is here, and perhaps there
    (left, here) it was moved; what is here is as it was then

At most one of the two ever says *here*, and whoever writes reads it under the room's lock: a server that has not heard
of a move is refused (``MovedError``). It is the other database's row that decides a move: the change from copy to here.

Which rooms may be *made* in a database goes by share, a number that a room's name has for ever: the two databases'
ranges of shares never overlap, so that a name is never made in both. Files, their saves and the leases to save them
stand together, as one.
"""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from collabkernel.errors import MigrationError, MovedError
from collabkernel.storage.tables import placement, rooms

HERE, COPY, LEFT = 0, 1, 2
SHARES = 10_000
"""All shares: a hundredth of a percent is the least that can be moved."""


class Standing(NamedTuple):
    """How a room stands in one database."""

    standing: int
    seq: int


class Placement(NamedTuple):
    """What one database has of all."""

    first_share: int
    end_share: int
    files: int
    """How its files stand."""
    peer: str
    """The name of the other database; empty for none."""


_PLACEMENT = select(*(placement.c[name] for name in Placement._fields))


def share_of(room_id: str) -> int:
    """The share that a room is in: the same for ever, everywhere."""
    return int.from_bytes(sha256(room_id.encode()).digest()[:8]) % SHARES


def find(connection: Connection, room_id: str) -> Standing | None:
    """How a room stands; None where it is not known."""
    row = connection.execute(select(rooms.c.standing, rooms.c.seq).where(rooms.c.id == room_id)).one_or_none()
    return None if row is None else Standing(*row)


def change(connection: Connection, room_id: str, before: int, after: int) -> bool:
    """Change how a room stands, under its lock; False, with nothing changed, where it stands otherwise."""
    changed = update(rooms).where(rooms.c.id == room_id, rooms.c.standing == before).values(standing=after)
    return connection.execute(changed).rowcount == 1


def remove_copy(connection: Connection, room_id: str) -> None:
    """Forget what is here of a room that is not here."""
    connection.execute(delete(rooms).where(rooms.c.id == room_id, rooms.c.standing != HERE))


def insert_copy(connection: Connection, row: dict[str, object]) -> None:
    """Begin a copy of a room: a row as the truth has it, but for its key and standing."""
    connection.execute(insert(rooms), {**row, "standing": COPY})


def find_placement(connection: Connection) -> Placement:
    """What this database has of all."""
    return Placement(*connection.execute(_PLACEMENT).one())


def set_shares(connection: Connection, first_share: int, end_share: int) -> None:
    """Let rooms of these shares alone be made here. When it is committed, nobody makes others any more."""
    connection.execute(update(placement).values(first_share=first_share, end_share=end_share))


def set_peer(connection: Connection, peer: str, first_share: int, end_share: int, files: int) -> None:
    """Begin to move, with another database.

    Raises:
        MigrationError: It moves with a third one already.
    """
    found = Placement(*connection.execute(_PLACEMENT.with_for_update()).one())
    if found.peer == peer:
        return
    if found.peer:
        raise MigrationError("this database has begun to move with another one; go on with that, or choose a new one")
    values = Placement(first_share, end_share, files, peer)._asdict()
    connection.execute(update(placement).values(**values))


def finish(connection: Connection) -> None:
    """Know no other database any more."""
    connection.execute(update(placement).values(peer=""))


def change_files(connection: Connection, before: int, after: int) -> bool:
    """Change how the files stand; False where they stand otherwise. When it is committed, nobody is half-way."""
    changed = update(placement).where(placement.c.files == before).values(files=after)
    return connection.execute(changed).rowcount == 1


def check_may_begin(connection: Connection, room_id: str) -> None:
    """Let a room be made here, if it is of the shares that are. They stay so until this transaction ends.

    Raises:
        MovedError: It has to be made in the other database.
    """
    found = Placement(*connection.execute(_PLACEMENT.with_for_update(read=True)).one())
    if not found.first_share <= share_of(room_id) < found.end_share:
        raise MovedError(f"room {room_id!r}")


def check_files_here(connection: Connection) -> None:
    """Let files be changed here. They stay here until this transaction ends.

    Raises:
        MovedError: They are in another database.
    """
    if connection.scalar(select(placement.c.files).with_for_update(read=True)) != HERE:
        raise MovedError("files")
