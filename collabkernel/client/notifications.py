"""What a replica tells its face: changes to show, refusals to raise, people who came and went."""

from __future__ import annotations

from dataclasses import dataclass

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.move_tree import Place
from collabkernel.document.live_tree import Change
from collabkernel.errors import DiscardedError, RejectedError
from collabkernel.wire.messages import Bye, Notice, RoomEvent, Welcome


@dataclass(frozen=True, slots=True)
class Changed:
    """What one envelope changed, in the order of its operations. Of others' it is told only while somebody watches."""

    changes: tuple[Change, ...]
    actor: str
    site: int
    is_remote: bool


@dataclass(frozen=True, slots=True)
class Placed:
    """Blocks that stand elsewhere than before: by block, its place before and now; None for nowhere."""

    places: dict[OpId, tuple[Place | None, Place | None]]
    actor: str
    """Whose edits did it; empty when several people's did."""
    is_remote: bool


@dataclass(frozen=True, slots=True)
class Discarded:
    """An own operation on the place of a block came to nothing: the log has another before it."""

    error: DiscardedError
    block: OpId


@dataclass(frozen=True, slots=True)
class EditLost:
    """Text or a property was written here in a block that somebody else deleted at about the same time."""

    block: OpId
    actor: str
    """Who deleted it."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The state was replaced by a snapshot; these containers hold something else than before."""

    containers: tuple[OpId, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a replica with a viewport has of documents is otherwise."""

    loaded: tuple[OpId, ...]
    """Blocks whose contents have come."""
    unloaded: tuple[OpId, ...]
    """Blocks whose contents are not here any more."""


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
    Changed
    | Placed
    | Discarded
    | EditLost
    | Reset
    | Loaded
    | Renamed
    | Refused
    | Welcomed
    | CaughtUp
    | PresenceChanged
    | EventReceived
    | Noticed
    | Dismissed
)
