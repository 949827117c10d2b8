"""What happens to a room. Each event is a fact; ``Room.handle`` says what follows from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from collabkernel.document.operations import Purge
from collabkernel.errors import RemoteProtocolError
from collabkernel.limits import Limits
from collabkernel.room.session import Principal
from collabkernel.storage.base import Appended, NotAppended, OpRow, Refusal, SiteRow
from collabkernel.wire.codec import decode_client_message
from collabkernel.wire.messages import ClientMessage


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """A socket was opened by somebody who may be here; nothing has been said yet."""

    session_id: int
    principal: Principal


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """A session sent a binary frame."""

    session_id: int
    frame: bytes
    """Empty for a further part of a frame that was cut."""
    message: ClientMessage | RemoteProtocolError | None = None
    """What is in it, or in this part of it, or why it is refused, when that was read already."""

    def read(self, limits: Limits) -> ClientMessage:
        """What the session says.

        Raises:
            RemoteProtocolError: It is no message.
        """
        if isinstance(self.message, RemoteProtocolError):
            raise self.message
        return self.message or decode_client_message(self.frame, limits)


@dataclass(frozen=True, slots=True)
class HelloDue:
    """By now a session must have said Hello."""

    session_id: int


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """The socket is gone."""

    session_id: int


@dataclass(frozen=True, slots=True)
class SessionBlocked:
    """More than the high mark waits in the session's socket."""

    session_id: int


@dataclass(frozen=True, slots=True)
class SessionDrained:
    """The session's socket is below the low mark again."""

    session_id: int


@dataclass(frozen=True, slots=True)
class SiteGranted:
    """The answer to ``GrantSite``; ``secret`` is empty on a resume, ``site`` None when it was refused."""

    session_id: int
    site: SiteRow | None
    secret: bytes
    log_agrees: bool
    """On a resume: the operation that the client had last seen is in the log."""
    head: int = 0
    """On a resume: the log goes at least as far. Its author may have seen and stored all of that at another server."""


@dataclass(frozen=True, slots=True)
class AskFailed:
    """The database did not answer what was asked for one session; of a resume the outcome is unknown."""

    session_id: int
    reason: str
    code: str = "storage-error"
    retry_after_ms: int = 200
    """About what loading a room takes."""
    was_tried: bool = True
    """False when the database was not asked at all, since it does not answer: then nothing was done."""


@dataclass(frozen=True, slots=True)
class OpsStored:
    """The answer to ``Append``: one outcome a request, in order."""

    outcomes: tuple[Appended | NotAppended, ...]


@dataclass(frozen=True, slots=True)
class AppendFailed:
    """The database took none of an ``Append``."""

    reason: str


@dataclass(frozen=True, slots=True)
class DatabaseLost:
    """The database does not answer. What was asked of it waits, and is asked again when it does."""


@dataclass(frozen=True, slots=True)
class DatabaseBack:
    """The database answers again; what waits is under way."""


@dataclass(frozen=True, slots=True)
class EnvelopeFound:
    """The answer to ``FindEnvelope``."""

    session_id: int
    counter: int
    found: Appended | Refusal | None


@dataclass(frozen=True, slots=True)
class RefusalStored:
    """The answer to ``Refuse``."""

    site: int
    refusal: Refusal
    is_stored: bool


@dataclass(frozen=True, slots=True)
class CatchUpRead:
    """The answer to ``ReadCatchUp``."""

    session_id: int
    parts: tuple[bytes, ...]
    """Encoded parts of a server message: a snapshot or none, then operations without gaps."""
    through: int
    """The seq that they reach."""


@dataclass(frozen=True, slots=True)
class OpsPublished:
    """Another server stored operations of this room."""

    first_seq: int
    last_seq: int
    parts: bytes
    """Encoded operations, as a frame to a client has them."""


@dataclass(frozen=True, slots=True)
class EphemeralPublished:
    """What another server's sessions show and broadcast."""

    origin: bytes
    """That server."""
    parts: bytes
    """As in ``PublishEphemeral``."""
    is_asking: bool


@dataclass(frozen=True, slots=True)
class BusLost:
    """The bus may have lost messages: the log knows what they said."""


@dataclass(frozen=True, slots=True)
class MissingRead:
    """The answer to ``ReadMissing``."""

    rows: tuple[OpRow, ...]
    is_cut: bool = False
    """More may follow."""
    is_dropped: bool = False
    """The log no longer has what follows."""


@dataclass(frozen=True, slots=True)
class SnapshotSaved:
    """A snapshot that was due is written."""

    seq: int
    """Where it stands; 0 when that failed."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """The right to write as a room's keeper."""

    token: int
    """Of the lease."""
    epoch: int
    """Of the keeper's site: nobody who had a lower one can store anything more."""
    next_counter: int
    seq: int
    """The head of the log since when that is so."""
    until_ms: int
    """By this server's clock; another server may take over then."""

    def after(self, ops_count: int) -> Keeping:
        """What is left when so many operations are written."""
        return replace(self, next_counter=self.next_counter + ops_count)


@dataclass(frozen=True, slots=True)
class KeepingAnswered:
    """The answer to ``AskKeeping``; None: another server has the lease, or the database did not answer."""

    keeping: Keeping | None


@dataclass(frozen=True, slots=True)
class PurgeAsked:
    """This was found to be deleted long ago: the keeper is to purge what still is."""

    ops: tuple[Purge, ...]
    seq: int
    """By the operations up to there."""


@dataclass(frozen=True, slots=True)
class StateAsked:
    """Somebody asks for the room as JSON."""

    request_id: int


@dataclass(frozen=True, slots=True)
class Ticked:
    """A time that the room asked for has come."""


@dataclass(frozen=True, slots=True)
class StopAsked:
    """The room is to end: the server stops, or the room is deleted."""

    code: str
    reason: str
    retry_after_ms: int = 0


@dataclass(frozen=True, slots=True)
class LeaveAsked:
    """Sessions are to go on at another server, since this one drains; what they have sent is stored before."""

    session_ids: tuple[int, ...]
    reason: str


Event = (
    SessionOpened
    | FrameReceived
    | HelloDue
    | SessionClosed
    | SessionBlocked
    | SessionDrained
    | SiteGranted
    | AskFailed
    | OpsStored
    | AppendFailed
    | DatabaseLost
    | DatabaseBack
    | EnvelopeFound
    | RefusalStored
    | CatchUpRead
    | OpsPublished
    | EphemeralPublished
    | BusLost
    | MissingRead
    | SnapshotSaved
    | KeepingAnswered
    | PurgeAsked
    | StateAsked
    | Ticked
    | StopAsked
    | LeaveAsked
)
