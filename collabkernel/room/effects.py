"""What a room wants done. The runner does it, decides nothing, and feeds the outcome back as an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from collabkernel.storage.base import AppendRequest, Refusal
from collabkernel.wire.messages import Resume


@dataclass(frozen=True, slots=True)
class Send:
    """Give one frame to each of these sessions; the same bytes for all."""

    session_ids: tuple[int, ...]
    frame: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Close a session's socket after what was sent."""

    session_id: int
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class GrantSite:
    """Make a new site, or resume one after checking its secret and actor: answered by ``SiteGranted``."""

    session_id: int
    actor: str
    kind: int
    resume: Resume | None


@dataclass(frozen=True, slots=True)
class Append:
    """Store envelopes: answered by ``OpsStored`` or ``AppendFailed``, in the order asked."""

    requests: tuple[AppendRequest, ...]


@dataclass(frozen=True, slots=True)
class FindEnvelope:
    """Look up a resent envelope: answered by ``EnvelopeFound``."""

    session_id: int
    site: int
    counter: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """Store a final refusal: answered by ``RefusalStored``."""

    site: int
    epoch: int
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class ReadCatchUp:
    """Read what a session lacks, of the log up to ``head`` alone: answered by ``CatchUpRead``."""

    session_id: int
    after_seq: int
    head: int
    with_snapshot: bool
    """Start from a snapshot: the session knows nothing, or has asked to start again."""
    is_partial: bool = False
    """A snapshot goes without the contents of blocks: the session asks for those that it looks at."""
    enough: int | None = None
    """A snapshot at this seq is enough: the room has what follows. All who ask for the same get the same bytes."""


@dataclass(frozen=True, slots=True)
class Publish:
    """Tell the other servers what this one has stored."""

    first_seq: int
    last_seq: int
    parts: bytes


@dataclass(frozen=True, slots=True)
class PublishEphemeral:
    """Tell the other servers what this one's sessions show and broadcast; it may be lost."""

    parts: bytes
    """For a room of live values the presence and events of a server frame, for a document awareness; may be empty."""
    is_asking: bool = False
    """They are to tell what their sessions show."""


@dataclass(frozen=True, slots=True)
class ReadMissing:
    """Read what other servers stored after ``after_seq``: answered by ``MissingRead``."""

    after_seq: int


@dataclass(frozen=True, slots=True)
class WriteSnapshot:
    """Write a snapshot at ``seq``, beside this room's task: answered by ``SnapshotSaved``."""

    seq: int


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Feed ``Ticked`` at this time; an earlier one stands beside it."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class AskKeeping:
    """Take the lease and the site of this room's keeper: answered by ``KeepingAnswered``."""


@dataclass(frozen=True, slots=True)
class TellState:
    """The answer to ``StateAsked``."""

    request_id: int
    state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CountReject:
    """Count a refusal for the metrics."""

    code: str


@dataclass(frozen=True, slots=True)
class CountPurged:
    """Count for the metrics the slots, keys and blocks that the keeper purges."""

    count: int


@dataclass(frozen=True, slots=True)
class Ban:
    """Let nobody of this name open the room again for a while: he sent what could break it."""

    actor: str
    code: str


@dataclass(frozen=True, slots=True)
class Unload:
    """Nobody is here, or the room cannot go on: drop it from memory. The log has all that was acknowledged."""

    reason: str


Effect = (
    Send
    | Close
    | GrantSite
    | Append
    | FindEnvelope
    | Refuse
    | ReadCatchUp
    | Publish
    | PublishEphemeral
    | ReadMissing
    | WriteSnapshot
    | WakeAt
    | AskKeeping
    | TellState
    | CountReject
    | CountPurged
    | Ban
    | Unload
)
