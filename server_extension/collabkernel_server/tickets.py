"""One-use tickets that open a room's WebSocket where no cookie or header can go.

A ticket is 32 random bytes; only its SHA-256 is kept, so neither a log nor a memory dump of the server gives a usable
one away. It is bound to a room, a user, the highest role it may give, and optionally to one other origin. It is spent
by its first presentation, whether that succeeds or not.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from jupyter_server.auth import User

from collabkernel.errors import BadTicketError, InvalidValueError
from collabkernel.wire.messages import Role

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s\\@]{1,255}")


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket stands for."""

    digest: bytes
    room_id: str
    user: User
    role: Role
    origin: str
    """An origin besides the server's own that may use it; empty for none."""
    expires_ms: int


def check_origin_name(origin: str) -> str:
    """The origin in lower case, to bind a ticket to.

    Raises:
        InvalidValueError: If it is not ``scheme://host[:port]``; ``null`` names nobody, so it cannot be bound.
    """
    lowered = origin.lower()
    if not _ORIGIN.fullmatch(lowered):
        raise InvalidValueError(f"origin must be scheme://host[:port], as in location.origin; got {origin[:80]!r}")
    return lowered


class TicketBox:
    """The unspent tickets of one server process."""

    def __init__(self, ttl_ms: int, outstanding_max: int, now_ms: Callable[[], int]) -> None:
        self._ttl_ms = ttl_ms
        self._outstanding_max = outstanding_max
        self._now_ms = now_ms
        # Every ticket lives equally long, so insertion order is order of expiry.
        self._ticket_by_digest: dict[bytes, Ticket] = {}

    def __len__(self) -> int:
        return len(self._ticket_by_digest)

    def mint(self, room_id: str, user: User, role: Role, origin: str = "") -> tuple[str, int]:
        """A new ticket, and when it expires in ms since the Unix epoch.

        When there are too many, the oldest goes of who has most: one who mints without end spoils his own alone.
        """
        self._drop_expired()
        while len(self._ticket_by_digest) >= self._outstanding_max:
            self._drop_one()
        secret = secrets.token_urlsafe(32)
        digest = _digest(secret)
        expires_ms = self._now_ms() + self._ttl_ms
        self._ticket_by_digest[digest] = Ticket(digest, room_id, user, role, origin, expires_ms)
        return secret, expires_ms

    def spend(self, secret: str, room_id: str) -> Ticket:
        """Take a ticket out of the box.

        Raises:
            BadTicketError: If it is unknown, spent, expired, or for another room; it is gone in each case.
        """
        digest = _digest(secret)
        ticket = self._ticket_by_digest.pop(digest, None)
        # The lookup goes by a hash of the secret, so its time tells nothing about the secret; the compare is constant
        # in time as well.
        if ticket is None or not hmac.compare_digest(ticket.digest, digest):
            raise BadTicketError("this ticket is unknown or already spent; ask for a new one")
        if self._now_ms() >= ticket.expires_ms:
            raise BadTicketError("this ticket has expired; ask for a new one")
        if not hmac.compare_digest(ticket.room_id.encode(), room_id.encode()):
            raise BadTicketError("this ticket is for another room; ask for one for this room")
        return ticket

    def _drop_one(self) -> None:
        tickets = self._ticket_by_digest
        ((greedy, _),) = Counter([ticket.user.username for ticket in tickets.values()]).most_common(1)
        del tickets[next(digest for digest, ticket in tickets.items() if ticket.user.username == greedy)]

    def _drop_expired(self) -> None:
        now_ms = self._now_ms()
        while self._ticket_by_digest:
            digest, ticket = next(iter(self._ticket_by_digest.items()))
            if ticket.expires_ms > now_ms:
                return
            del self._ticket_by_digest[digest]


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
