"""Values of a site: what a stored queue keeps of it, what an edit became, and when it is lost."""

from __future__ import annotations

from dataclasses import dataclass

from collabkernel.client.edit import Done
from collabkernel.client.pending import PendingEnvelope
from collabkernel.document.operations import Envelope
from collabkernel.errors import RemoteProtocolError
from collabkernel.limits import Limits
from collabkernel.wire.messages import ClientLimits


@dataclass(frozen=True, slots=True)
class StoredSite:
    """A site as an on-disk queue keeps it."""

    site: int
    secret: bytes
    next_counter: int
    envelopes: tuple[Envelope, ...]
    """Unanswered ones, in counter order."""


@dataclass(frozen=True, slots=True)
class Committed:
    """An edit that is now pending."""

    entry: PendingEnvelope
    done: tuple[Done, ...]

    @property
    def changed(self) -> tuple[Done, ...]:
        """The operations that changed something for a user."""
        return tuple(done for done in self.done if done.change is not None)


class SiteLostError(RemoteProtocolError):
    """The server's log and this replica's counters do not belong together; it must join as a new site."""

    code = "site-lost"


def client_limits(limits: Limits) -> ClientLimits:
    """The limits that a client keeps by itself."""
    return ClientLimits(
        frame_bytes=limits.frame_bytes,
        key_bytes=limits.key_bytes,
        value_bytes=limits.value_bytes,
        envelope_ops=limits.envelope_ops,
        depth=limits.depth,
        presence_bytes=limits.presence_bytes,
        ops_per_s=limits.ops_per_s,
    )
