"""What a replica tells its face: changes to show, refusals to raise, people who came and went."""

from __future__ import annotations

from dataclasses import dataclass

from collabkernel.crdt.ids import OpId
from collabkernel.document.live_tree import Change
from collabkernel.errors import RejectedError
from collabkernel.wire.messages import Bye, Notice, RoomEvent, Welcome


@dataclass(frozen=True, slots=True)
class Changed:
    """What one envelope changed, in the order of its operations."""

    changes: tuple[Change, ...]
    actor: str
    site: int
    is_remote: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """The state was replaced by a snapshot; these containers hold something else than before."""

    containers: tuple[OpId, ...]


@dataclass(frozen=True, slots=True)
class Renamed:
    """Containers that were made again under a new site: old id to new."""

    new_id_by_old: dict[OpId, OpId]


@dataclass(frozen=True, slots=True)
class Refused:
    """The server refused an envelope of this site for good; its effects are gone or about to go."""

    error: RejectedError
    counter: int
    targets: tuple[OpId, ...]


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The server has let this replica in."""

    welcome: Welcome


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """The replica has all that the room had when it joined."""


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """Sessions came, left, or show something else."""

    sites: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EventReceived:
    """Somebody broadcast an event."""

    event: RoomEvent


@dataclass(frozen=True, slots=True)
class Noticed:
    """The server refused a frame that was no envelope's."""

    notice: Notice


@dataclass(frozen=True, slots=True)
class Dismissed:
    """The server ends this connection."""

    bye: Bye


Notification = (
    Changed | Reset | Renamed | Refused | Welcomed | CaughtUp | PresenceChanged | EventReceived | Noticed | Dismissed
)
