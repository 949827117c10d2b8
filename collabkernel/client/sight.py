"""What a replica looks at, and what of the room's documents it has by that: the client's half of viewports.

The rules (docs/decisions/0013; the server's are in ``room/viewport.py``):

- It names blocks, or nothing and is sent everything. A connection is *partial* once a viewport was named on it, and
  stays so: to be sent everything again takes a new one.
- On a partial connection it knows the contents of the blocks that it was given there. What it has from before counts
  until the first frame that was filtered: up to there it was sent all of the log.
- Blocks that it inserts are whole here from the start. They count as named, by the server too.
- Viewports leave at most every ``VIEWPORT_INTERVAL_MS``: the first at once, then the last one that was named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from collabkernel.client.notifications import Loaded
from collabkernel.crdt.ids import OpId
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.block_loading import load, unload
from collabkernel.document.operations import Envelope, StoredEnvelope
from collabkernel.document.room_state import RoomState
from collabkernel.errors import InvalidValueError, RemoteProtocolError
from collabkernel.limits import VIEWPORT_BLOCKS_MAX, VIEWPORT_INTERVAL_MS
from collabkernel.wire.messages import Contents, Viewport
from collabkernel.wire.room_state import decode_contents


class Sight:
    """The blocks that one replica has named, and how far the server has heard of it.

    Args:
        is_lazy: Look at nothing to begin with, rather than at everything.
    """

    def __init__(self, is_lazy: bool = False) -> None:
        self.named: dict[OpId, None] | None = {} if is_lazy else None
        """In the order of naming; None: everything."""
        self.is_partial = False
        """A viewport was named on the present connection."""
        self._is_filtered = False
        """Frames since the last snapshot, or the beginning of the connection, left out what is not in sight."""
        self._is_due = False
        self._send_from_ms = 0

    # -- naming

    def name(self, blocks: Iterable[OpId] | None) -> None:
        """Look at these blocks alone from now on, or at everything."""
        self.named = None if blocks is None else dict.fromkeys(blocks)
        self._is_due = blocks is not None

    def add(self, made: Iterable[OpId]) -> None:
        """Look at blocks that were inserted here, too. The server knows."""
        if self.named is not None:
            self.named.update(dict.fromkeys(made))
            for block in list(self.named)[:-VIEWPORT_BLOCKS_MAX]:
                del self.named[block]

    @property
    def wants_new_connection(self) -> bool:
        """Whether the present connection does not give what is looked at, and never will."""
        return self.is_partial and self.named is None

    # -- telling the server

    def open(self, is_whole_needed: bool) -> list[Viewport]:
        """A new connection begins: what to say before Hello.

        Args:
            is_whole_needed: Everything has to come first, whatever is looked at.
        """
        self._is_filtered = False
        self.is_partial = self.named is not None and not is_whole_needed
        self._is_due = self.named is not None and is_whole_needed
        return [Viewport(tuple(self.named))] if self.named is not None and self.is_partial else []

    def take_due(self, now_ms: int) -> Viewport | None:
        """What to send now; noted as sent."""
        if not self._is_due or self.named is None or now_ms < self._send_from_ms:
            return None
        self._is_due, self.is_partial = False, True
        self._send_from_ms = now_ms + VIEWPORT_INTERVAL_MS
        return Viewport(tuple(self.named))

    @property
    def due_ms(self) -> int | None:
        """When there is something to send; None for never."""
        return self._send_from_ms if self._is_due else None

    def put_off(self, until_ms: int) -> None:
        """The server would not hear of it: say it again."""
        if self.is_partial and self.named is not None:
            self._is_due, self._send_from_ms = True, max(self._send_from_ms, until_ms)

    # -- what comes

    def seen(self, state: RoomState) -> RoomState:
        """A state that the server has sent or that is empty, as what is looked at makes of it."""
        if self.is_partial:
            state.begin_partial()
        return state

    def start_over(self) -> None:
        """A snapshot has come: what is named is given anew."""
        self._is_filtered = False

    def take(self, parts: Sequence[Contents], state: RoomState, own: Collection[OpId]) -> Loaded:
        """Take the contents of a filtered frame; what has come and gone.

        Args:
            parts: Of the frame, if it has any.
            state: What is here.
            own: Blocks of this replica that the log does not have.

        Raises:
            RemoteProtocolError: They are none, or nobody asked for them.
        """
        if not self.is_partial:
            raise RemoteProtocolError("the server left something out, though no viewport was named")
        found = [each for part in parts for each in decode_contents(part.blocks)]
        given = {each.id for each in found}
        gone: list[OpId] = []
        if not self._is_filtered:
            self._is_filtered = True
            gone = state.restrict({*given, *own})
        blocks = state.blocks
        if blocks is None or blocks.known is None:
            return Loaded((), ())
        for id, registers, yjs_state in found:
            load(blocks, id, registers, yjs_state)
        for id in [id for part in parts for id in part.lost if id in blocks.known and id not in own]:
            unload(blocks, id)
            gone.append(id)
        return Loaded(tuple(sorted(given & blocks.blocks.keys())), tuple([id for id in gone if id in blocks]))

    def is_here(self, state: RoomState) -> bool:
        """Whether all that is looked at is here."""
        if self.named is None:
            return not state.is_partial
        blocks = state.blocks
        known = [] if blocks is None else [block for block in self.named if block in blocks.tree]
        if blocks is None or not known:
            return True
        return self._is_filtered and all(
            blocks.is_known(block) and blocks.is_known(blocks.block(block).rope_id) for block in known
        )


def viewport_of(blocks: BlockDocument, root: OpId, shown: Iterable[OpId], around: int) -> list[OpId]:
    """What to name to be shown some blocks of a document, and so many before and behind each.

    Raises:
        InvalidValueError: That is more than a viewport holds.
    """
    found = dict.fromkeys(shown)
    if around > 0:
        order = list(blocks.tree.in_order(root))
        at_by_block = {block: at for at, block in enumerate(order)}
        ats = [at for block in found if (at := at_by_block.get(block)) is not None]
        found = dict.fromkeys([block for at in ats for block in order[max(at - around, 0) : at + around + 1]]) | found
    named = list(dict.fromkeys([part for block in found for part in blocks.parts(block)]))
    if len(named) > VIEWPORT_BLOCKS_MAX:
        raise InvalidValueError(f"{len(named)} blocks are more than are shown at once: {VIEWPORT_BLOCKS_MAX}")
    return named


def loaded_since(old: RoomState, new: RoomState) -> Loaded:
    """What of the blocks of two states is here in the new one alone, and what in the old one alone."""
    if not (old.is_partial or new.is_partial) or old.blocks is None or new.blocks is None:
        return Loaded((), ())
    was, now = old.blocks, new.blocks
    both = [id for id in now.blocks if id in was]
    loaded = tuple([id for id in both if now.is_known(id) and not was.is_known(id)])
    return Loaded(loaded, tuple([id for id in both if was.is_known(id) and not now.is_known(id)]))


def merged(runs: Iterable[StoredEnvelope]) -> Iterator[StoredEnvelope]:
    """The runs of filtered parts as one, in seq order, each operation once."""
    last_seq = 0
    for run in sorted(runs, key=lambda each: each.seq):
        known = last_seq - run.seq + 1
        if known < len(run.envelope.ops):
            yield run if known <= 0 else _without(run, known)
        last_seq = max(last_seq, run.last_seq)


def _without(run: StoredEnvelope, count: int) -> StoredEnvelope:
    envelope = run.envelope
    rest = Envelope(envelope.counter + count, envelope.base, envelope.hlc + count, envelope.ops[count:])
    return replace(run, seq=run.seq + count, envelope=rest)
