"""The envelopes of one site that are not confirmed yet, and which of them to send when.

An envelope is *unanswered* until its Ack, and stays here as *acknowledged* until it comes back in the log's order,
since a snapshot taken before that does not hold it. Sending is go-back-N (Tanenbaum, "Computer Networks", 3.4): a
refusal for now sends everything from there on again, and a new connection everything unanswered. The server answers
what it has stored already from its log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from collabkernel.crdt.ids import OpId, Stamp
from collabkernel.document.operations import Envelope
from collabkernel.document.room_state import RoomState
from collabkernel.wire.writer import field_bytes

IN_FLIGHT_BYTES = 4 << 20
"""Sent and unanswered at once: a refusal for now sends at most this again."""


@dataclass(slots=True, eq=False)
class PendingEnvelope:
    """An envelope of this site with what became of it."""

    envelope: Envelope
    payload: bytes
    """Its encoded body."""
    acked_seq: int | None = None
    is_applied: bool = True
    """Whether the whole of it is in the tree; one from a stored queue is not, until the room's state has come."""
    is_refused: bool = False
    """For good; kept until the snapshot that follows a refusal has come."""

    stood_in: RoomState | None = None
    """The state in which it had a place, if the present one has none for it."""
    is_untaken: bool = False
    """The server has said that it has not stored it, and will not."""

    @property
    def is_answered(self) -> bool:
        """Whether the server has judged it."""
        return self.acked_seq is not None or self.is_refused

    def op_id(self, site: int, i: int) -> OpId:
        """Id of operation ``i``."""
        return OpId(site, self.envelope.counter + i)

    def stamp(self, site: int, i: int) -> Stamp:
        """Stamp of operation ``i``."""
        return Stamp(self.envelope.hlc + i, site)


class PendingQueue:
    """Envelopes in counter order.

    Invariants: counters rise, and all are below ``next_counter``; ``_sent_below`` is the counter below which
    everything unanswered has been sent on the present connection.
    """

    def __init__(self, next_counter: int = 1) -> None:
        self._entries: deque[PendingEnvelope] = deque()
        self._entry_by_counter: dict[int, PendingEnvelope] = {}
        self.next_counter = next_counter
        self._sent_below = 0
        self._in_flight_ops = 0
        self._in_flight_bytes = 0
        self._unanswered_count = 0
        self.resume_sending_at_ms = 0
        self._takes_no_more = False

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[PendingEnvelope]:
        return iter(self._entries)

    def __contains__(self, counter: object) -> bool:
        return counter in self._entry_by_counter

    @property
    def unanswered_count(self) -> int:
        """Envelopes that the server has not judged."""
        return self._unanswered_count

    def first_unanswered(self) -> PendingEnvelope | None:
        """The first envelope that the server has not judged."""
        return next((entry for entry in self._entries if not entry.is_answered), None)

    def is_settled(self, counter: int) -> bool:
        """Whether every envelope up to and with this counter was judged."""
        first = self.first_unanswered()
        return first is None or first.envelope.counter > counter

    def add(self, envelope: Envelope, payload: bytes, is_applied: bool = True) -> PendingEnvelope:
        """Queue an envelope that continues the counters."""
        assert envelope.counter >= self.next_counter, "envelopes are queued in counter order"
        entry = PendingEnvelope(envelope, payload, is_applied=is_applied)
        self._entries.append(entry)
        self._entry_by_counter[envelope.counter] = entry
        self.next_counter = envelope.last_counter + 1
        self._unanswered_count += 1
        return entry

    def acknowledge(self, counter: int, seq: int) -> PendingEnvelope | None:
        """Take note of an Ack; None when it was answered before."""
        entry = self._entry_by_counter.get(counter)
        if entry is None or entry.is_answered:
            return None
        entry.acked_seq = seq
        self._answered(entry)
        return entry

    def note_taken(self, counter: int, seq: int) -> None:
        """The server has taken all before a counter, and will take nothing else."""
        self._takes_no_more = True
        for entry in list(self._entries):
            if entry.envelope.counter < counter:
                self.acknowledge(entry.envelope.counter, seq)

    def left(self) -> tuple[PendingEnvelope, ...]:
        """What the server has not judged, when it does not let the site go on."""
        found = tuple(entry for entry in self._entries if not entry.is_answered)
        for entry in found:
            entry.is_untaken = self._takes_no_more
        return found

    def refuse(self, counter: int) -> PendingEnvelope | None:
        """Take out an envelope that was refused for good; None when it was answered before."""
        entry = self._entry_by_counter.get(counter)
        if entry is None or entry.is_answered:
            return None
        entry.is_refused = True
        self._answered(entry)
        self._drop(entry)
        return entry

    def find(self, counter: int) -> PendingEnvelope | None:
        """The envelope that has the operation of this counter."""
        found = self._entry_by_counter.get(counter)
        if found is not None:
            return found
        return next((entry for entry in self if entry.envelope.counter <= counter <= entry.envelope.last_counter), None)

    def confirm(self, counter: int, seq: int) -> PendingEnvelope | None:
        """An envelope came back in the log's order: it is no longer pending."""
        entry = self._entry_by_counter.get(counter)
        if entry is None:
            return None
        if not entry.is_answered:
            entry.acked_seq = seq
            self._answered(entry)
        self._drop(entry)
        return entry

    def confirm_through(self, seq: int) -> list[PendingEnvelope]:
        """What is here holds every envelope that was acknowledged at or below ``seq``: they are no longer pending."""
        confirmed = [entry for entry in self._entries if entry.acked_seq is not None and entry.acked_seq <= seq]
        for entry in confirmed:
            self._drop(entry)
        return confirmed

    def note_places(self, before: RoomState) -> None:
        """They were put on another state than they were on before: see whether each has a place there."""
        for entry in self:
            entry.stood_in = None if entry.is_applied else entry.stood_in or before

    def _drop(self, entry: PendingEnvelope) -> None:
        del self._entry_by_counter[entry.envelope.counter]
        if self._entries[0] is entry:
            self._entries.popleft()
        else:
            self._entries.remove(entry)

    def _answered(self, entry: PendingEnvelope) -> None:
        self._unanswered_count -= 1
        if entry.envelope.counter < self._sent_below:
            self._in_flight_ops -= len(entry.envelope.ops)
            self._in_flight_bytes -= len(entry.payload)

    # -- sending

    def start_over(self) -> None:
        """Everything unanswered is to be sent, on a new connection."""
        self._go_back(0)
        self.resume_sending_at_ms = 0

    def go_back(self, counter: int, at_ms: int) -> None:
        """The server wants everything from ``counter`` on again, not before ``at_ms``."""
        self._go_back(counter)
        self.resume_sending_at_ms = max(self.resume_sending_at_ms, at_ms)

    def _go_back(self, counter: int) -> None:
        self._sent_below = min(self._sent_below, counter)
        in_flight = [
            entry for entry in self._entries if not entry.is_answered and entry.envelope.counter < self._sent_below
        ]
        self._in_flight_ops = sum(len(entry.envelope.ops) for entry in in_flight)
        self._in_flight_bytes = sum(len(entry.payload) for entry in in_flight)

    @property
    def is_all_sent(self) -> bool:
        """Whether nothing is left to send on this connection."""
        return self._sent_below >= self.next_counter or not any(self._unsent())

    def _unsent(self) -> Iterator[PendingEnvelope]:
        # Newest first, so that a long queue in flight costs nothing when one more is added.
        unsent: list[PendingEnvelope] = []
        for entry in reversed(self._entries):
            if entry.envelope.counter < self._sent_below:
                break
            if not entry.is_answered:
                unsent.append(entry)
        return reversed(unsent)

    def take_to_send(self, frame_bytes: int, in_flight_ops_max: int, now_ms: int) -> list[list[PendingEnvelope]]:
        """Groups of envelopes, each of which fits a frame; noted as sent."""
        if now_ms < self.resume_sending_at_ms:
            return []
        groups: list[list[PendingEnvelope]] = []
        room_bytes = 0
        for entry in self._unsent():
            ops = len(entry.envelope.ops)
            is_window_full = self._in_flight_ops + ops > in_flight_ops_max or self._in_flight_bytes > IN_FLIGHT_BYTES
            if self._in_flight_ops and is_window_full:
                break
            size = len(entry.payload) + ENVELOPE_OVERHEAD_BYTES
            if not groups or size > room_bytes:
                groups.append([])
                room_bytes = frame_bytes - FRAME_OVERHEAD_BYTES
            groups[-1].append(entry)
            room_bytes -= size
            self._sent_below = entry.envelope.last_counter + 1
            self._in_flight_ops += ops
            self._in_flight_bytes += len(entry.payload)
        return groups

    def take_frames(self, frame_bytes: int, in_flight_ops_max: int, now_ms: int) -> list[bytes]:
        """The same as frames of the protocol, a ``Submit`` each."""
        groups = self.take_to_send(frame_bytes, in_flight_ops_max, now_ms)
        return [field_bytes(2, b"".join([field_bytes(1, entry.payload) for entry in group])) for group in groups]


ENVELOPE_OVERHEAD_BYTES = 8
"""Tag and length of an envelope in a Submit, at most."""
FRAME_OVERHEAD_BYTES = 16
"""Tag and length of a Submit, at most."""
