"""Values of a site: what a stored queue keeps of it, what an edit became, and when it is lost."""

from __future__ import annotations

from dataclasses import dataclass, field

from collabkernel.client.edit import Done
from collabkernel.client.own_blocks import Places
from collabkernel.client.pending import PendingEnvelope, PendingQueue
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
    places: Places = field(default_factory=dict)
    """Blocks that stand elsewhere by it than before."""

    @property
    def changed(self) -> tuple[Done, ...]:
        """The operations that changed something for a user."""
        return tuple(done for done in self.done if done.change is not None)


class SiteLostError(RemoteProtocolError):
    """The server's log and this replica's counters do not belong together; it must join as a new site."""

    code = "site-lost"


def check_counters(pending: PendingQueue, expected: int) -> None:
    """See whether the server's log and our queue belong together; after a restored backup they may not.

    Args:
        pending: Our queue.
        expected: The counter that the server says is next.

    Raises:
        SiteLostError: They do not.
    """
    first = pending.first_unanswered()
    ours = pending.next_counter if first is None else first.envelope.counter
    if expected > pending.next_counter and not len(pending):
        pending.next_counter = expected
    elif expected < ours or expected > pending.next_counter:
        raise SiteLostError(f"the server expects counter {expected} of this site, which is at {ours}; joining anew")


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
