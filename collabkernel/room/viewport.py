"""What sessions with a viewport are sent: the operations on what they look at, and what it holds when they first look.

A session that has named a viewport is sent live values and the places of all blocks, as everybody is, and of properties
and texts those of the *partitions* that its blocks are in (``document/partitions.py``). Of each it is given the
contents once; from there on the operations keep it whole. The rules:

- Contents are taken from the state as it is, which may hold operations that the log has not answered for. They are
  *held* until it has, and the session is passed by until then: nothing is shown that is not stored.
- They are taken soon after a flush (``looks.py``), when the session was shown all that was stored by then. What it is
  shown from there on follows them, or is in them already and comes once more: contents commute.
- A frame of the log that was not filtered (from the ring, or read) does no harm: a client passes over what it lacks.
- A partition that got new blocks while a session was behind is given to it anew, since it was not told of them.
- Who inserts a block looks at it: it counts as named, for a split puts it where its rope is and not where he looks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from collabkernel.crdt.ids import OpId
from collabkernel.document.operations import Envelope, Op, StoredEnvelope, made_by
from collabkernel.document.partitions import Partitions
from collabkernel.document.room_state import JUDGED_OPS, RoomState
from collabkernel.limits import CONTENTS_KEPT_BYTES, VIEWPORT_PARTITIONS_KEPT
from collabkernel.room.effects import Send
from collabkernel.room.session import Session
from collabkernel.wire.frames import contents_part, filtered_part, through_op_part, through_part
from collabkernel.wire.room_state import encode_contents, encode_new

THROUGH_MS = 5000
"""A session that needs nothing of the log is told so often how far it is complete: a frame takes about 40 us."""
EVERYBODY = 0
"""Stands for the partition that everybody sees."""


class Run(NamedTuple):
    """Operations of one envelope that follow each other and go to the same sessions."""

    stored: StoredEnvelope
    payloads: list[bytes]


class Held(NamedTuple):
    """Contents that hold operations which the log has not answered for."""

    session: Session
    frame: bytes
    admitted: int
    """How many envelopes the log has to have answered for."""


class Viewports:
    """The partitions of a room, and what of them is under way to sessions."""

    __slots__ = ("_blocks", "_encoded", "_held", "_kept_bytes", "_partitions", "_state", "encodes", "looks")

    def __init__(self, state: RoomState) -> None:
        self._state = state
        self._partitions: Partitions | None = None
        """None while nobody looks at a part, or there is no document."""
        self._encoded: dict[int, bytes] = {}
        """Contents of partitions as they were encoded, until operations on them are shown: a class that opens a
        document asks for the same. What was admitted since follows them as an operation."""
        self._blocks: dict[OpId, bytes] = {}
        """The same of blocks: in a partition few change between two who come into it."""
        self._kept_bytes = 0
        """Of these."""
        self._held: deque[Held] = deque()
        self.encodes = 0
        """How many contents of partitions were encoded."""
        self.looks = 0
        """How often somebody has got other blocks in sight."""

    def _forget(self) -> None:
        self._blocks, self._encoded, self._kept_bytes = {}, {}, 0

    def home(self, block: OpId) -> int | None:
        """The partition of a block; None: nobody looks at a part, or it is in none."""
        return None if self._partitions is None else self._partitions.home(block)

    # -- a flush

    def begin(self, sessions: Collection[Session]) -> bool:
        """A flush begins; whether anybody has a viewport. What a flush shows was judged."""
        if not any(session.view is not None for session in sessions):
            self._partitions = None
            self._forget()
            return False
        if self._partitions is None and self._state.blocks is not None:
            self._partitions = Partitions(self._state.blocks)
        return True

    def show(
        self, runs: Sequence[Run], ready: Collection[Session], sessions: Iterable[Session], now_ms: int
    ) -> list[Send]:
        """Frames of one stretch of the log, each encoded once for all who see the same of it.

        Args:
            runs: Whole envelopes, all of the stretch.
            ready: Sessions with a viewport that are up to date but for them.
            sessions: All.
            now_ms: Server's clock. Who needs nothing of the stretch is told of it at most every ``THROUGH_MS``.
        """
        joined = self._take(runs, ready, sessions)
        shown = {
            number: filtered_part([run.stored for run in parts], [run.payloads for run in parts])
            for number, parts in sorted(self._cut(runs).items())
        }
        told = {number: contents_part(encode_new(sorted(blocks))) for number, blocks in sorted(joined.items())}
        last = runs[-1].stored
        at = last.last_seq, last.op_id(len(last.envelope.ops) - 1)
        head, op = through_part(at[0]), through_op_part(at[1])
        changed = {*shown, *told}
        for_all = (EVERYBODY,) if EVERYBODY in changed else ()
        numbers_by_seen: dict[frozenset[int], tuple[int, ...]] = {}
        ids_by_numbers: dict[tuple[int, ...], list[int]] = {}
        for session in ready:
            view = session.view
            assert view is not None
            numbers = numbers_by_seen.get(view.seen)
            if numbers is None:
                numbers = numbers_by_seen[view.seen] = (*for_all, *sorted(view.seen & changed))
            if not numbers and now_ms < view.told_ms + THROUGH_MS:
                view.owed = at
                continue
            view.owed, view.told_ms = None, now_ms
            ids_by_numbers.setdefault(numbers, []).append(session.id)
        sends = []
        for numbers, ids in ids_by_numbers.items():
            parts = [shown.get(number, b"") for number in numbers]
            contents = [told.get(number, b"") for number in numbers]
            sends.append(Send(tuple(ids), b"".join([head, *parts, op, *contents])))
        return sends

    def owed(self, session: Session) -> list[Send]:
        """Tell a session how far it is complete, if it was not: before it is sent what follows unfiltered."""
        view = session.view
        if view is None or view.owed is None:
            return []
        (seq, op), view.owed = view.owed, None
        return [Send((session.id,), through_part(seq) + through_op_part(op))]

    def _take(
        self, runs: Sequence[Run], ready: Collection[Session], sessions: Iterable[Session]
    ) -> dict[int, list[OpId]]:
        """Bring the partitions on; the new blocks of each, for those who see it and are ready."""
        partitions = self._partitions
        if partitions is None:
            return {}
        joined: dict[int, list[OpId]] = {}
        made_by_site: dict[int, list[OpId]] = {}
        for stored, _ in runs:
            for i, op in enumerate(stored.envelope.ops):
                made, number = made_by(stored.op_id(i), op), partitions.take(stored.op_id(i), op)
                if made is None:
                    continue
                made_by_site.setdefault(stored.site, []).append(made)
                if number is not None:
                    joined.setdefault(number, []).append(made)
        if made_by_site:
            self._note_made(partitions, made_by_site, sessions)
        divided = partitions.divide()
        if joined or divided:
            ready_ids = {session.id for session in ready}
            for session in sessions:
                if session.view is not None:
                    if session.id not in ready_ids:
                        session.view.note_missed(joined)
                    session.view.note_divided(divided)
        if partitions.is_recut_due:
            views = [session.view for session in sessions if session.view is not None]
            partitions.recut({number for view in views for number in view.sees})
        told: dict[int, list[OpId]] = {}
        for blocks in joined.values():
            for block in blocks:
                home = partitions.home(block)
                assert home is not None, "a block that joined a partition is in one"
                told.setdefault(home, []).append(block)
        return told

    def _note_made(
        self, partitions: Partitions, made_by_site: Mapping[int, Sequence[OpId]], sessions: Iterable[Session]
    ) -> None:
        """Blocks that sessions with a viewport have inserted are in it."""
        for session in sessions:
            view = session.view
            if view is None:
                continue
            for made in made_by_site.get(session.site, ()):
                home = partitions.home(made)
                if home is not None:
                    view.add(made, home)

    def _cut(self, runs: Sequence[Run]) -> dict[int, list[Run]]:
        """Envelopes, cut into runs of what each partition needs of them."""
        by_number: dict[int, list[Run]] = {}
        for run in runs:
            for number, start, end in self._stretches(run.stored.envelope.ops):
                by_number.setdefault(number, []).append(_part_of(run, start, end))
        return by_number

    def _stretches(self, ops: Sequence[Op]) -> Iterator[tuple[int, int, int]]:
        """Partition, start and end of operations that follow each other and that it needs."""
        open_at: dict[int, int] = {}
        partitions = self._partitions
        for i, op in enumerate(ops):
            of = None if partitions is None else partitions.of(op)
            self._kept_bytes -= len(self._blocks.pop(op.target, b""))
            needed = (EVERYBODY,) if of is None else of
            if op.__class__ in JUDGED_OPS:
                self._encoded.clear()  # partitions may have got other blocks, or lost some
            for number in needed:
                self._encoded.pop(number, None)
            for number in [number for number in open_at if number not in needed]:
                yield number, open_at.pop(number), i
            for number in needed:
                open_at.setdefault(number, i)
        for number, start in open_at.items():
            yield number, start, len(ops)

    # -- contents

    def look(self, session: Session, admitted: int, is_settled: bool, now_ms: int) -> list[Send]:
        """Give a session that was shown all of the last flush the contents of what it looks at and does not have.

        Args:
            session: It.
            admitted: How many envelopes were admitted so far; the contents may hold them.
            is_settled: Whether the log has answered for all of them.
            now_ms: Server's clock.
        """
        view, partitions = session.view, self._partitions
        if view is None or not view.is_due:
            return []
        view.is_due = False
        if partitions is None:
            return []
        wanted = {home for block in view.blocks if (home := partitions.home(block)) is not None}
        self.looks += wanted != view.in_sight
        new, lost = view.look(wanted, set(partitions.numbers()), VIEWPORT_PARTITIONS_KEPT)
        gone = set(partitions.contents(lost)) - set(partitions.contents(view.sees)) if lost else ()
        if not new and not gone:
            return []
        session.viewports.charge(sum([partitions.count(number) for number in new]), now_ms)
        parts = [self._contents_of(partitions, number) for number in new]
        frame = b"".join([*parts, contents_part(b"", sorted(gone))])
        if is_settled:
            return [Send((session.id,), frame)]
        session.is_reading = True
        self._held.append(Held(session, frame, admitted))
        return []

    def _contents_of(self, partitions: Partitions, number: int) -> bytes:
        found = self._encoded.get(number)
        if found is None:
            self.encodes += 1
            found = self._encoded[number] = contents_part(b"".join(self._encode(partitions, number)))
            if self._kept_bytes > CONTENTS_KEPT_BYTES:
                self._forget()
        return found

    def _encode(self, partitions: Partitions, number: int) -> Iterator[bytes]:
        blocks, document = self._blocks, partitions.document
        for block in partitions.contents((number,)):
            found = blocks.get(block)
            if found is None:
                found = blocks[block] = encode_contents(document, (block,))
                self._kept_bytes += len(found)
            yield found

    def release(self, answered: int) -> list[tuple[Session, bytes]]:
        """What was held, and holds nothing more that is not stored, now that the log has answered for so many."""
        released = []
        while self._held and self._held[0].admitted <= answered:
            session, frame, _ = self._held.popleft()
            released.append((session, frame))
        return released


def _part_of(run: Run, start: int, end: int) -> Run:
    seq, site, actor, envelope = run.stored.seq, run.stored.site, run.stored.actor, run.stored.envelope
    if end - start == len(envelope.ops):
        return run
    part = Envelope(envelope.counter + start, envelope.base, envelope.hlc + start, envelope.ops[start:end])
    return Run(StoredEnvelope(seq + start, site, actor, part), run.payloads[start:end])
