"""One-use tickets that open a room's WebSocket where no cookie or header can go.

A ticket is 32 random bytes. Its SHA-256 alone is kept, in the database: any server may spend it, and neither a log nor
a dump of memory or database gives a usable one away. It is bound to a room, a user, the highest role it may give, and
optionally to one other origin. It is spent by its first presentation, whether that succeeds or not.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass

from jupyter_server.auth import User

from collabkernel.errors import BadTicketError, InvalidValueError
from collabkernel.server.tickets import Tickets
from collabkernel.storage.base import TicketRow
from collabkernel.wire.messages import Role
from collabkernel_server.identity import actor_of

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s\\@]{1,255}")


_USER_FIELDS = ("username", "name", "display_name", "initials", "color")
"""Of Jupyter's user model; nothing else of a user goes into the database. An avatar may be a picture."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket stands for."""

    user: User
    role: Role
    """The highest that it gives."""
    origin: str
    """An origin besides the server's own that may use it; empty for none."""
    is_user_whole: bool
    """Whether the authorizer would know this user again. One of a class of its own (JupyterHub's, for one) may carry
    what only the server knows at which he logged in, so for a minute he has the role that he had there."""


def check_origin_name(origin: str) -> str:
    """The origin in lower case, to bind a ticket to.

    Raises:
        InvalidValueError: If it is not ``scheme://host[:port]``; ``null`` names nobody, so it cannot be bound.
    """
    lowered = origin.lower()
    if not _ORIGIN.fullmatch(lowered):
        raise InvalidValueError(f"origin must be scheme://host[:port], as in location.origin; got {origin[:80]!r}")
    return lowered


async def mint(tickets: Tickets, room_id: str, user: User, role: Role, origin: str, ttl_ms: int) -> tuple[str, int]:
    """A new ticket, and when it expires in ms since the Unix epoch, by the database's clock.

    Raises:
        DegradedError: The database does not answer.
        StorageError: It refuses, for good.
    """
    secret = secrets.token_urlsafe(32)
    described = {field: getattr(user, field) for field in _USER_FIELDS} | {"is_whole": type(user) is User}
    row = TicketRow(_digest(secret), room_id, actor_of(user), json.dumps(described), int(role), origin, ttl_ms)
    return secret, await tickets.issue(row)


async def spend(tickets: Tickets, secret: str, room_id: str) -> Ticket:
    """Take a ticket away.

    Raises:
        BadTicketError: If it is unknown, spent, expired, or for another room; it is gone in each case.
        DegradedError: The database does not answer.
        TooManyError, StorageError: As ``Tickets.spend``.
    """
    row = await tickets.spend(_digest(secret))  # found by a hash: how long that takes tells nothing of the secret
    if row is None:
        raise BadTicketError("this ticket is unknown or already spent; ask for a new one")
    if row.ttl_ms <= 0:
        raise BadTicketError("this ticket has expired; ask for a new one")
    if not hmac.compare_digest(row.room_id.encode(), room_id.encode()):
        raise BadTicketError("this ticket is for another room; ask for one for this room")
    described = json.loads(row.user)
    user = User(**{field: described[field] for field in _USER_FIELDS})
    return Ticket(user, Role(row.role), row.origin, is_user_whole=described["is_whole"])


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
