"""Every error that collabkernel raises, in one tree.

::

    CollabKernelError                 code                 whose fault
    ├── LocalProtocolError            local-error          our caller
    │   ├── DetachedError             detached
    │   ├── NotLoadedError            not-loaded
    │   ├── ClosedError               closed
    │   ├── InvalidValueError         invalid-value
    │   │   └── NotKeptError          not-kept              ask for a state that was kept
    │   └── InvalidRoomNameError      invalid-room-name
    ├── RemoteProtocolError           protocol-error       the peer
    │   ├── MalformedFrameError       malformed-frame
    │   ├── FrameTooLargeError        frame-too-large
    │   ├── InvalidOperationError     invalid-operation
    │   │   ├── UnknownTargetError    unknown-target
    │   │   ├── WrongTargetKindError  wrong-target-kind
    │   │   ├── UnknownReferenceError unknown-reference
    │   │   └── PurgedError           purged                take the room's state, and look what is left to do
    │   ├── InvalidYjsUpdateError     invalid-yjs-update
    │   │   ├── YjsGapError           yjs-gap
    │   │   └── SplitPairError        split-pair
    │   ├── ForeignClientError        foreign-client
    │   └── CounterGapError           counter-gap
    ├── AccessError                   access-denied        the peer, or his administrator
    │   ├── ReadOnlyError             read-only
    │   ├── BannedError               banned
    │   ├── BadTicketError            bad-ticket
    │   ├── BadResumeError            bad-resume
    │   └── LimitError                limit                 (see ``limits.py``)
    │       ├── TooLargeError         too-large
    │       ├── TooDeepError          too-deep
    │       ├── RateError             rate
    │       └── TooManyError          too-many
    ├── StorageError                  storage-error        the world
    │   ├── DegradedError             degraded              nobody's; it is asked again
    │   │   └── BlobsAwayError        degraded              the same, of what is outside the database
    │   ├── BlobLostError             blob-lost             put it back, or restore a backup
    │   ├── RoomNotFoundError         room-not-found
    │   ├── LogDroppedError           log-dropped           read a snapshot instead
    │   ├── LeaseLostError            lease-lost            somebody else does it by now
    │   ├── CompactionError           compaction-differs    the log stays as long as it is
    │   ├── ArchiveError              archive               (the message says)
    │   ├── RoomResetError            (why)                 the room starts again from its log
    │   └── FencedError               fenced
    ├── ServerStoppingError           server-stopping      nobody; come back in a moment
    │   └── ServerDrainingError       server-draining      nobody; another server has the rooms
    ├── RejectedError                 (the server's code)  an edit that the server refused
    └── DiscardedError                discarded-(verdict)  an edit of a block's place that another came before

Catch by class and never look into the text of a message. ``code`` is stable: it crosses the wire, and may be tested.
"""

from __future__ import annotations

from typing import ClassVar


class CollabKernelError(Exception):
    """Base of every error of this project."""

    code: ClassVar[str] = "error"
    retry_after_ms: int | None = None
    _told: ClassVar[str] = ""

    @property
    def told(self) -> str:
        """What a peer is told: the message, unless it may say where this server keeps things, which operators read."""
        return self._told or str(self)


class LocalProtocolError(CollabKernelError):
    """The calling code used the library against its rules."""

    code = "local-error"


class DetachedError(LocalProtocolError):
    """A live value is no longer part of its room (deleted, or its edit was refused)."""

    code = "detached"


class NotLoadedError(LocalProtocolError):
    """The contents of a block are not on this client: it looks at other parts of its document."""

    code = "not-loaded"

    def __init__(self, block: str) -> None:
        super().__init__(
            f"what is in block {block} is not loaded here: doc.show(block) loads it and what is near it, "
            "doc.show_all() everything; await them in an aio room"
        )
        self.block = block


class ClosedError(LocalProtocolError):
    """The room or connection was used after it was closed."""

    code = "closed"


class InvalidValueError(LocalProtocolError, ValueError):
    """A value or key cannot be stored in a room (type, range, or size)."""

    code = "invalid-value"


class NotKeptError(InvalidValueError):
    """A room as it was is asked for, and its log no longer goes back as far."""

    code = "not-kept"

    def __init__(self, room_id: str, when: str, before_seq: int | None, after_seq: int) -> None:
        nearest = f"{after_seq}" if before_seq is None else f"{before_seq} and {after_seq}"
        super().__init__(
            f"room {room_id!r} can no longer be shown as it was at {when}: its log was compacted, and of what was then "
            f"the states at some seqs alone are kept. The nearest: {nearest}; a time gives the last one made by then"
        )
        self.before_seq = before_seq
        """The nearest seq before that there is a state of; None if there is none."""
        self.after_seq = after_seq
        """The nearest one after."""


class InvalidRoomNameError(LocalProtocolError, ValueError):
    """A room's name has a sign that a URL or a file name would have to escape, or is too long."""

    code = "invalid-room-name"


class RemoteProtocolError(CollabKernelError):
    """The peer sent something that the protocol does not allow."""

    code = "protocol-error"


class MalformedFrameError(RemoteProtocolError):
    """Bytes that are no message of the protocol: unknown field or enum value, missing member, bad UTF-8, ..."""

    code = "malformed-frame"


class FrameTooLargeError(RemoteProtocolError):
    """A frame, or what it decompresses to, is over the limit."""

    code = "frame-too-large"

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(f"frame of {size_bytes} bytes is over the limit of {limit_bytes} bytes; send smaller batches")
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class InvalidOperationError(RemoteProtocolError):
    """An operation that decodes but makes no sense in this room."""

    code = "invalid-operation"


class UnknownTargetError(InvalidOperationError):
    """An operation names a container that does not exist."""

    code = "unknown-target"


class WrongTargetKindError(InvalidOperationError):
    """An operation does not fit the kind of its container, such as a list insert into a map."""

    code = "wrong-target-kind"


class UnknownReferenceError(InvalidOperationError):
    """An operation names a list slot or element that does not exist."""

    code = "unknown-reference"


class PurgedError(InvalidOperationError):
    """An operation names what was deleted long ago and is gone by now; its author takes the room's state, and looks."""

    code = "purged"


class InvalidYjsUpdateError(RemoteProtocolError):
    """A Yjs update that our validator does not let through to pycrdt."""

    code = "invalid-yjs-update"


class YjsGapError(InvalidYjsUpdateError):
    """A Yjs update continues something that is not here; ask its sender for what is missing (sync step 1)."""

    code = "yjs-gap"


class SplitPairError(InvalidYjsUpdateError):
    """A Yjs update cuts a surrogate pair in two, which implementations show differently; an editor may do so."""

    code = "split-pair"


class ForeignClientError(RemoteProtocolError):
    """A Yjs update writes under a client id that belongs to another user; a page may, after another login."""

    code = "foreign-client"


class CounterGapError(RemoteProtocolError):
    """An envelope does not continue its site's counters; the client sends again from ``expected``."""

    code = "counter-gap"

    def __init__(self, expected: int, got: int) -> None:
        super().__init__(f"expected counter {expected}, got {got}; send again from {expected}")
        self.expected = expected
        self.got = got


class AccessError(CollabKernelError):
    """The peer may not do this."""

    code = "access-denied"


class ReadOnlyError(AccessError):
    """A reader tried to write."""

    code = "read-only"


class BannedError(AccessError):
    """Somebody sent what could have broken this document, and may not open it for a while."""

    code = "banned"

    def __init__(self, room_id: str, retry_after_ms: int) -> None:
        super().__init__(f"edits that were no valid ones came from you to {room_id!r}; come back later")
        self.room_id = room_id
        self.retry_after_ms = retry_after_ms


class BadTicketError(AccessError):
    """A ticket is unknown, spent, expired, or for another room."""

    code = "bad-ticket"


class BadResumeError(AccessError):
    """A resume names an unknown or closed site, another actor, or a wrong secret."""

    code = "bad-resume"


class LimitError(AccessError):
    """A limit of ``limits.py`` was passed."""

    code = "limit"


class TooLargeError(LimitError):
    """A value, key, envelope, or room is too large."""

    code = "too-large"

    def __init__(self, what: str, size: int, limit: int, unit: str = "bytes") -> None:
        super().__init__(f"{what} of {size} {unit} is over the limit of {limit} {unit}")
        self.what = what
        self.size = size
        self.limit = limit


class TooDeepError(LimitError):
    """Live values or blocks are nested deeper than the limit."""

    code = "too-deep"

    def __init__(self, limit: int, what: str = "live values") -> None:
        super().__init__(f"{what} are nested over {limit} levels")
        self.limit = limit


class RateError(LimitError):
    """A session sent more than its allowance; what it sent may be sent again after ``retry_after_ms``."""

    code = "rate"

    def __init__(self, limit_ops_per_s: int, retry_after_ms: int) -> None:
        super().__init__(f"over {limit_ops_per_s} ops/s; retry in {retry_after_ms} ms")
        self.limit_ops_per_s = limit_ops_per_s
        self.retry_after_ms = retry_after_ms


class BusyError(LimitError):
    """The server has more to do than its processor gives, and agents wait for people."""

    code = "busy"
    retry_after_ms = 500
    """Some flushes of a busy server."""

    def __init__(self) -> None:
        super().__init__(f"the server is busy, and agents wait for people; send again in {self.retry_after_ms} ms")


class TooManyError(LimitError):
    """Too many sessions in a room, rooms on a server, or who wait for the same."""

    code = "too-many"

    def __init__(self, what: str, limit: int, retry_after_ms: int) -> None:
        super().__init__(f"there are already {limit} {what}; retry in {retry_after_ms} ms")
        self.what = what
        self.limit = limit
        self.retry_after_ms = retry_after_ms


class StorageError(CollabKernelError):
    """The database did not do what was asked; nothing was acknowledged."""

    code = "storage-error"
    _told = "the database failed; the log of the server says why"


class DegradedError(StorageError):
    """The database does not answer, which may pass: a connection that broke, a full disk, another's lock."""

    code = "degraded"
    _told = "the database does not answer; come back in a moment"
    retry_after_ms = 2000
    """Who was not let in comes back after this: some tries of the server to reach its database."""


class BlobsAwayError(DegradedError):
    """The place of blobs outside the database (``blob_url``) does not answer, or takes nothing."""


class BlobLostError(StorageError):
    """A part of a snapshot is missing or damaged. The room is made again from its log, if that goes back as far."""

    code = "blob-lost"


class RoomNotFoundError(StorageError):
    """The room does not exist."""

    code = "room-not-found"
    _told = ""

    def __init__(self, room_id: str) -> None:
        super().__init__(f"there is no room {room_id!r}")
        self.room_id = room_id


class MovedError(StorageError):
    """A room, or the files, are in another database: they were moved there, or are being moved just now."""

    code = "moved"
    _told = "this is moving to another database; come back in a moment"
    retry_after_ms = 2000
    """Another server may know where."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} moved to another database: start this server with migrate_to_url, or with that one as its db_url"
        )


class MigrationError(StorageError):
    """Rooms cannot be moved between these two databases as they are."""

    code = "migration"
    _told = ""


class DifferenceError(MigrationError):
    """What a copy has is not what its truth has."""

    code = "migration-differs"


class RoomResetError(StorageError):
    """A room in memory and its log differ; it starts again from the log. ``code`` says why."""

    _told = ""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code  # type: ignore[misc]  # one class for every reason to start again


class LogDroppedError(StorageError):
    """The log no longer has what was asked for: it was compacted. The newest snapshot has what it did."""

    code = "log-dropped"
    _told = ""

    def __init__(self, room_id: str, after_seq: int, dropped_seq: int) -> None:
        super().__init__(f"room {room_id!r} cannot be read after {after_seq}: its log begins after {dropped_seq}")
        self.dropped_seq = dropped_seq


class LeaseLostError(StorageError):
    """Somebody else has had a lease since it was taken; what its old holder wrote was not stored."""

    code = "lease-lost"
    _told = ""

    def __init__(self, name: str) -> None:
        super().__init__(f"the lease {name!r} was lost: this process was held up for long, and another has taken over")
        self.lease_name = name


class CompactionError(StorageError):
    """A room's log does not make what its snapshot holds, so none of the log may go."""

    code = "compaction-differs"
    _told = ""

    def __init__(self, room_id: str, seq: int, parts: list[str]) -> None:
        super().__init__(
            f"the log of room {room_id!r} stays as it is: folded up to {seq} it differs from the snapshot there in "
            f"{', '.join(parts)}. That is a fault of this software: keep a copy of the database, and report it"
        )
        self.seq = seq
        self.parts = parts


class ArchiveError(StorageError):
    """Operations could not be put into the archive, so they stay in the log."""

    code = "archive"


class FencedError(StorageError):
    """A site's epoch is older than the stored one: another connection has resumed it."""

    code = "fenced"
    _told = ""


class ServerStoppingError(CollabKernelError):
    """The server is shutting down; connect again in a moment."""

    code = "server-stopping"
    retry_after_ms = 1000


class ServerDrainingError(ServerStoppingError):
    """The server takes no new sessions, and sends those that it has to the other servers on its database."""

    code = "server-draining"
    retry_after_ms = 5000

    def __init__(self) -> None:
        super().__init__("this server drains: go on at another one, or come back when it was started again")


class RejectedError(CollabKernelError):
    """The server refused an edit of this client; it was rolled back here. ``code`` is the server's."""

    def __init__(self, code: str, reason: str, retry_after_ms: int | None = None) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code  # type: ignore[misc]  # one class for every code of the server
        self.reason = reason
        self.retry_after_ms = retry_after_ms


_WHY_DISCARDED = {
    "concurrent": "somebody else moved or deleted this block at the same time, and came first",
    "cycle": "the block would have come below itself, by somebody else's move",
    "dead-parent": "the place that the block was moved to was deleted meanwhile",
    "unknown": "the block is not in this room",
}


class DiscardedError(CollabKernelError):
    """An edit of where a block stands came to nothing, since the room has another one before it. Text is never lost so.

    ``code`` is ``discarded-`` and the verdict: ``concurrent``, ``cycle``, ``dead-parent``, ``unknown``.
    """

    def __init__(self, verdict: str) -> None:
        super().__init__(_WHY_DISCARDED[verdict])
        self.code = f"discarded-{verdict}"  # type: ignore[misc]  # one class for every verdict
