"""A room as it was: ``room.at(seq)`` or ``room.at(time)``. It is read like any room, and changed by nobody."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from collabkernel.client.actors import Actors
from collabkernel.client.replica import Replica
from collabkernel.client.room_base import RoomBase
from collabkernel.client.site import client_limits
from collabkernel.errors import InvalidValueError
from collabkernel.limits import Limits
from collabkernel.wire.messages import Role, ServerMessage, SessionKind, Snapshot, Welcome
from collabkernel.wire.state import cut

PAST_SITE = 1
"""Nobody writes as it."""


class PastRoom(RoomBase):
    """The live values and documents of a room at one seq of its log; whoever writes gets ``ReadOnlyError``."""

    @property
    def seq(self) -> int:
        """The operation of the room's log up to and with which it shows everything."""
        return self.replica.through

    def __repr__(self) -> str:
        return f"<Room {self.name!r} as it was at {self.seq}>"


class When(NamedTuple):
    """A place in a room's log, by its seq or by a time; the other is None."""

    seq: int | None = None
    at_ms: int | None = None


def when_of(when: int | datetime) -> When:
    """The place in the log that somebody asks for: a seq, or a time (local if it names no zone).

    Raises:
        InvalidValueError: It is neither, or before there were any.
    """
    if isinstance(when, datetime):
        found = When(at_ms=int(when.timestamp() * 1000))
    elif isinstance(when, int) and not isinstance(when, bool):
        found = When(seq=when)
    else:
        raise InvalidValueError(f"a room is looked at as of a seq or a datetime, not a {type(when).__name__}")
    if min(each for each in found if each is not None) < 0:
        raise InvalidValueError(f"there was no room at {when}")
    return found


def past_room(name: str, state: bytes, limits: Limits, actors: Actors | None = None) -> PastRoom:
    """The room that a server tells of, as the bytes of a ``RoomState``.

    Args:
        name: Of the room.
        state: What it was.
        limits: What a client takes.
        actors: Who writes as which site, of the room as it is now.

    Raises:
        RemoteProtocolError: They are none.
    """
    seq = cut(state).seq
    replica = Replica(SessionKind.SCRIPT, "past", limits)
    welcome = Welcome(PAST_SITE, b"past", seq, 0, Role.READER, "", "", "", client_limits(limits), 1)
    snapshot = Snapshot(seq, state, None) if seq else None
    replica.receive(ServerMessage(welcome=welcome), 0)
    if snapshot is not None:
        replica.receive(ServerMessage(snapshot=snapshot), 0)
    room = PastRoom(name, replica, limits, lambda: 0)
    room.actors = actors or room.actors
    room.set_status("closed")
    return room


def stored_seq(replica: Replica) -> int:
    """The last operation of the log that is known here to be stored: own ones that were acknowledged count."""
    acked = [entry.acked_seq + len(entry.envelope.ops) - 1 for entry in replica.pending if entry.acked_seq is not None]
    return max([replica.through, *acked])
