"""A resync: when it is due, and the state that it brings until that may take the place of the replica's own.

The server's snapshot may be older than what the replica has shown: the log behind it follows, in one message or in
many. Until then the old state stays. In the snapshot's own edits may be missing that are in the log; whoever typed
there would use places of his Yjs clock a second time, and what is pending may name blocks that are not there yet.
"""

from __future__ import annotations

from dataclasses import replace

from collabkernel.client.applying import apply_stored
from collabkernel.client.own_blocks import OwnBlocks
from collabkernel.client.pending import PendingQueue
from collabkernel.client.purges import purge
from collabkernel.client.sight import Sight
from collabkernel.crdt.ids import OpId
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.operations import StoredEnvelope
from collabkernel.document.room_state import RoomState
from collabkernel.errors import PurgedError, RemoteProtocolError
from collabkernel.wire.messages import Reject, ServerMessage, Snapshot, Welcome
from collabkernel.wire.room_state import decode_room


class Incoming:
    """A snapshot, and the log behind it as far as it has come.

    Args:
        state: Of the snapshot.
        seq: Of the snapshot.
        op: The operation there.
        site: The replica's.
        goal_seq: What the replica has shown already.
    """

    def __init__(self, state: RoomState, seq: int, op: OpId | None, site: int, goal_seq: int) -> None:
        self.state = state
        self.own_blocks = OwnBlocks(state, site)
        self.through = seq
        self.through_op = op
        self._goal_seq = goal_seq

    @property
    def is_complete(self) -> bool:
        """It has all that the replica has shown."""
        return self.through >= self._goal_seq

    def take(self, stored: StoredEnvelope) -> None:
        """Apply the next envelope of the log.

        Raises:
            RemoteProtocolError, LimitError: It does not apply.
        """
        apply_stored(self.state, stored, is_told=False)
        self.own_blocks.log(stored, stored.actor)
        tuple(self.own_blocks.confirm(0, is_late=True))  # of a state that nobody has seen, nobody is told
        purge(self.state, self.own_blocks, stored)
        self.through, self.through_op = stored.last_seq, stored.op_id(len(stored.envelope.ops) - 1)


def read_snapshot(
    snapshot: Snapshot, site: int, sight: Sight, checked: BlockDocument | None, goal_seq: int
) -> tuple[Incoming, int]:
    """The state of a snapshot, and the highest stamp in it.

    Raises:
        RemoteProtocolError: It is none.
    """
    state, seq, hlc = decode_room(snapshot.state, site, checked=checked)
    if seq != snapshot.seq:
        raise RemoteProtocolError(f"a snapshot at {snapshot.seq} holds a state at {seq}")
    sight.start_over()
    return Incoming(sight.seen(state), seq, snapshot.op, site, goal_seq), hlc


class Joining:
    """What a new site begins with, in place of one that is lost: held until all of it is here.

    Until then its user goes on with what he has, in place of a room that is empty for as long.

    That is what he had seen stored, too: edits that are made again may name it, and another server may be behind.
    """

    def __init__(self) -> None:
        self._held: list[tuple[ServerMessage, int]] = []
        self._goal_seq: int | None = None
        self._seen_by_site: dict[int, int] = {}
        """Of sites that had not seen a purge: a seq that the log has reached for sure ..."""
        self._goal_by_site: dict[int, int] = {}
        """... and of those that came in their place."""

    def note_taken(self, reject: Reject, pending: PendingQueue, site: int, through: int) -> None:
        """With the refusal of what names something purged the server has said all that it will take of this site."""
        if reject.code == PurgedError.code:
            ends = [each.acked_seq + len(each.envelope.ops) - 1 for each in pending if each.acked_seq is not None]
            self._seen_by_site[site] = max([through, *ends])
            pending.note_taken(reject.counter, through)

    def goal(self, welcome: Welcome) -> int:
        """The seq up to which a site has to be shown the log before it is up to date."""
        return max(welcome.seq, self._goal_by_site.get(welcome.site, 0))

    def start_over(self) -> None:
        """The line is gone, and with it what was to come."""
        self._held.clear()
        self._goal_seq = None

    def take(self, message: ServerMessage, now_ms: int, site: int) -> list[tuple[ServerMessage, int]]:
        """What may be read now, each with when it came."""
        if message.welcome is not None and site not in (0, message.welcome.site):
            self._goal_by_site[message.welcome.site] = self._seen_by_site.get(site, 0)
            self._goal_seq = self.goal(message.welcome)
        if self._goal_seq is None:
            return [(message, now_ms)]
        if message.bye is not None:
            self.start_over()
            return [(replace(message, welcome=None, snapshot=None, ops=()), now_ms)]
        self._held.append((message, now_ms))
        if max(map(_reached, self._held)) < self._goal_seq:
            return []
        held = self._held[:]
        self.start_over()
        return held


def _reached(held: tuple[ServerMessage, int]) -> int:
    message, _ = held
    seqs = [stored.last_seq for stored in message.ops]
    return max([message.through, 0 if message.snapshot is None else message.snapshot.seq, *seqs])


class Resyncing:
    """Whether the server's state is wanted, was asked for, or is coming in."""

    def __init__(self) -> None:
        self.is_wanted = False
        self.is_asked = False
        self.incoming: Incoming | None = None
        self._purged_at: int | None = None
        self.not_before_ms = 0
        """The server has had enough of resyncs until then."""

    @property
    def is_under_way(self) -> bool:
        """What is shown is not what it should be."""
        return self.ignores_log or self.incoming is not None

    @property
    def ignores_log(self) -> bool:
        """A snapshot will have what the log brings now."""
        return self.is_wanted or self.is_asked

    def want(self, purged_at: int | None = None) -> None:
        """Something is wrong with the state here, such as by a purge, since edits on their way are in it."""
        self.is_wanted = self.is_wanted or not self.is_asked
        self._purged_at = self._purged_at or purged_at

    def base(self, through: int) -> int:
        """What an edit is made on: before a purge that is not done here, for it may name what is gone elsewhere."""
        return through if self._purged_at is None else min(through, self._purged_at - 1)

    def connected(self, *, is_sent: bool) -> None:
        """A new connection, on which the server sends a snapshot by itself, or not.

        What was wanted on an older one is wanted still: what is wrong is in the state.
        """
        self.is_wanted, self.is_asked = self.is_under_way and not is_sent, is_sent
        self.incoming, self.not_before_ms = None, 0

    def came(self, incoming: Incoming | None = None) -> None:
        """A snapshot is here, or none is needed any more."""
        self.is_wanted = self.is_asked = False
        self.incoming = incoming
        if incoming is None:
            self._purged_at = None

    def refused(self, retry_at_ms: int) -> None:
        """The server refused something for now; if a resync was asked for, it may be that."""
        if self.is_asked:
            self.is_wanted, self.is_asked, self.not_before_ms = True, False, retry_at_ms

    def take_request(self, now_ms: int) -> bool:
        """Whether to ask now; noted as asked."""
        is_due = self.is_wanted and now_ms >= self.not_before_ms
        if is_due:
            self.is_wanted, self.is_asked = False, True
        return is_due
