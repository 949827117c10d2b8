"""One session of a room: who it is, how far it has been told, what it may still do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from collabkernel.crdt.ids import OpId
from collabkernel.limits import Limits
from collabkernel.room.quota import TokenBucket
from collabkernel.room.view import View
from collabkernel.wire.messages import ClientLimits, PresenceEntry, Role, SessionKind, Welcome


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody whom the server has authenticated, and what he may do in this room."""

    actor: str
    """His user name; stable, and what edits are signed with."""
    name: str
    """What to show of him."""
    color: str
    """``#rrggbb``, or empty."""
    role: Role
    identity: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What Jupyter says of him, as it stands under ``user`` in the awareness of documents; empty where he may say."""
    is_service: bool = False
    """Whether this is the server itself, in this process: it has no allowances, and is in no count of connections."""


class Session:
    """A socket in a room.

    Invariants: ``site`` is 0 until ``is_live``; ``cursor`` is the seq up to which everything was given to the socket;
    ``next_counter`` is the only counter that an envelope of this session may begin with.
    """

    __slots__ = (
        "blocked_since_ms",
        "cursor",
        "epoch",
        "events",
        "frames",
        "id",
        "is_asking_site",
        "is_dropping",
        "is_held",
        "is_live",
        "is_reading",
        "is_resync_due",
        "kind",
        "lacks_purge",
        "next_counter",
        "ops",
        "place",
        "presence_json",
        "principal",
        "resyncs",
        "site",
        "view",
        "viewports",
    )

    def __init__(self, id: int, principal: Principal, limits: Limits, now_ms: int) -> None:
        self.id = id
        self.principal = principal
        self.kind = SessionKind.PERSON
        self.site = 0
        self.epoch = 0
        self.next_counter = 1
        self.cursor = 0
        self.is_asking_site = False
        self.is_live = False
        self.is_reading = False
        """A ``ReadCatchUp`` is under way, or contents are held for it; flushes pass this session by."""
        self.is_resync_due = False
        """It asked for a snapshot while it was being caught up."""
        self.is_dropping = False
        """An envelope was refused for now: those after it are dropped until it comes again (go-back-N)."""
        self.is_held = False
        """Another connection asks for its site: what it submits is dropped, and asked for again if that was refused."""
        self.lacks_purge = False
        """It has sent what names something that was purged: it takes a new site, and makes its edits again there."""
        self.blocked_since_ms: int | None = None
        self.presence_json = ""
        self.place: OpId | None = None
        """The block that it is in, by its presence."""
        self.frames = TokenBucket(limits.frames_per_s, limits.frames_per_s, now_ms)
        self.ops = TokenBucket(limits.ops_per_s, limits.ops_burst, now_ms)
        self.events = TokenBucket(limits.events_per_s, limits.events_per_s, now_ms)
        self.view: View | None = None
        """What it looks at; None: it is shown everything."""
        self.viewports = TokenBucket(limits.viewport_blocks_per_s, limits.viewport_blocks_burst, now_ms)
        self.resyncs = TokenBucket(limits.resyncs_per_minute / 60, limits.resyncs_per_minute, now_ms)

    @property
    def is_passed_by(self) -> bool:
        """Flushes pass it by: it is blocked, or something is read or held for it."""
        return self.is_reading or self.is_blocked

    @property
    def is_blocked(self) -> bool:
        """Its socket holds more than the high mark; it gets nothing but answers to what it sent."""
        return self.blocked_since_ms is not None

    def welcome(self, secret: bytes, seq: int, resync: bool, limits: Limits, now_ms: int) -> Welcome:
        """The answer to its Hello."""
        who = self.principal
        client_limits = ClientLimits(
            limits.frame_bytes,
            limits.key_bytes,
            limits.value_bytes,
            limits.envelope_ops,
            limits.depth,
            limits.presence_bytes,
            limits.ops_per_s,
        )
        return Welcome(
            site=self.site,
            secret=secret,
            seq=seq,
            server_time_ms=now_ms,
            role=who.role,
            actor=who.actor,
            name=who.name,
            color=who.color,
            limits=client_limits,
            next_counter=self.next_counter,
            resync=resync,
        )

    def described(self) -> dict[str, str | int]:
        """What the REST interface tells of it."""
        who = self.principal
        return {"site": self.site, "actor": who.actor, "name": who.name, "kind": self.kind.name.lower()}

    def entry(self, left: bool = False) -> PresenceEntry:
        """What the others see of it."""
        who = self.principal
        state = "" if left else self.presence_json
        place = None if left else self.place
        return PresenceEntry(self.site, who.actor, who.name, who.color, self.kind, state, left, place)
