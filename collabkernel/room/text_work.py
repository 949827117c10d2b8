"""What an edit of a text costs the server beside its bytes.

yrs keeps what one author has typed in a row as one string, and an edit in its midst cuts it: a walk over all of it.
10,000 deletions of one character in a text of 5 MB are an update of 31 KB and nine seconds of work (0.1 to 0.2 ns a cut
and a byte). So the work of an envelope, cuts times the text's size, is metered and bounded. Each cut also leaves two
pieces, of 400 bytes together in memory and 30 in a snapshot, which the bytes of the update do not show; ``TextSizes``
counts them until the text is encoded anew and shows its size.

An insert where many were made at once walks over those, here and in yrs: that is known once it was judged, and charged
then.
"""

from __future__ import annotations

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.text import TextRope
from collabkernel.crdt.yjs.parse import Reader
from collabkernel.crdt.yjs.policy import DELETED, EMBED, FORMAT, HAS_KEY, HAS_ORIGIN, HAS_RIGHT_ORIGIN, STRING
from collabkernel.document.live_tree import Undo
from collabkernel.document.operations import Envelope, TextEdit
from collabkernel.document.room_state import RoomState
from collabkernel.errors import InvalidYjsUpdateError
from collabkernel.limits import WARM_TEXTS

CUT_BYTES = 128
"""What a cut is counted as in a room: more than its snapshot takes, less than its memory."""
WORK_PER_TOKEN = 700_000
"""Work that costs as much as one operation: about 0.1 ms."""
SMALL_TEXT_BYTES = 64 << 10
"""In a text of this size as many cuts as an update may have cost a tenth of a second; it is not looked at."""
WALKED_PER_TOKEN = 400
"""Pieces that are walked over at the price of one operation: about 0.1 ms."""


def cuts(update: bytes) -> int:
    """In how many places an update may cut: its structs and delete ranges; 0 for one that will be refused.

    A struct that goes on behind the author's last one, as in typing, cuts nothing.
    """
    try:
        return _count(Reader(update), has_deletes=update[-1:] != b"\0")
    except InvalidYjsUpdateError:
        return 0


def _count(reader: Reader, has_deletes: bool) -> int:
    count = 0
    for _ in range(reader.uint("clients")):
        structs, client, clock = reader.uint("structs"), reader.uint("client"), reader.uint("clock")
        count += structs - _goes_on(reader, client, clock)
        if not has_deletes:
            return count
        for _ in range(structs):
            _skip_struct(reader)
    clients = reader.uint("clients")
    for i in range(clients):
        reader.uint("client")
        ranges = reader.uint("ranges")
        count += ranges
        for _ in range(2 * ranges if i < clients - 1 else 0):
            reader.uint("range")
    return count


def _goes_on(reader: Reader, client: int, clock: int) -> bool:
    at = reader.at
    has_origin = reader.byte("struct") & HAS_ORIGIN
    goes_on = bool(has_origin) and (reader.uint("client"), reader.uint("clock")) == (client, clock - 1)
    reader.at = at
    return goes_on


def _skip_struct(reader: Reader) -> None:
    info = reader.byte("struct")
    kind, has_neighbour = info & 0x1F, info & (HAS_ORIGIN | HAS_RIGHT_ORIGIN)
    for bit in (HAS_ORIGIN, HAS_RIGHT_ORIGIN):
        if info & bit:
            reader.uint("client")
            reader.uint("clock")
    if not has_neighbour:
        if reader.uint("parent") == 1:
            reader.buffer("root")
        else:
            reader.uint("client")
            reader.uint("clock")
        if info & HAS_KEY:
            reader.buffer("key")
    if kind == DELETED:
        reader.uint("length")
    elif kind in (STRING, EMBED, FORMAT):
        reader.buffer("content")
        if kind == FORMAT:
            reader.buffer("value")
    else:
        raise InvalidYjsUpdateError(f"content of kind {kind}")


class TextSizes:
    """Counts the texts of a room by what they take encoded, and since then by their updates and cuts."""

    def __init__(self, state: RoomState) -> None:
        self._state = state
        self._bytes_by_text: dict[OpId, int] = {}
        self._edited = 0
        """Edits since texts were last looked through for those that nobody edits."""
        self.walked = 0
        """Pieces of texts that were walked over to judge updates, in all."""

    def apply_staged(self, op: TextEdit, rope: TextRope) -> Undo:
        """``TextRope.apply_staged`` of the rope that ``op`` edits, counted; what is returned takes it back.

        Raises:
            InvalidYjsUpdateError: yrs does not take it after all; nothing was changed.
        """
        target, holder, mark, updates = op.target, self._state.holder(op), rope.mark(), rope.staged
        holder_bytes, rope_bytes = holder.size_bytes, rope.size_bytes
        before = self._bytes_by_text.get(target, rope_bytes)
        made = self._state.typed_bytes(op) if rope.is_empty else 0
        rope.apply_staged()
        self._edited += 1
        grown = sum(map(len, updates))
        is_encoded_anew = rope.size_bytes != rope_bytes + grown
        after = rope.size_bytes if is_encoded_anew else before + grown + sum(map(cuts, updates)) * CUT_BYTES
        self._bytes_by_text[target] = after
        holder.size_bytes += after - before + made

        def undo() -> None:
            rope.rewind(mark)
            self._bytes_by_text[target] = before
            holder.size_bytes = holder_bytes

        return undo

    def rest(self) -> None:
        """Now and then: let texts of blocks be bytes that nobody edits, and count them by those.

        When nothing that was applied may be taken back any more.
        """
        blocks = self._state.blocks
        if blocks is None or self._edited < WARM_TEXTS:
            return
        self._edited = 0
        blocks.cool(WARM_TEXTS)
        for target in [target for target in self._bytes_by_text if target in blocks.ropes]:
            rope = blocks.ropes[target]
            if rope.is_cold:
                blocks.size_bytes += rope.size_bytes - self._bytes_by_text.pop(target)


def waking(state: RoomState, envelope: Envelope) -> int:
    """What the texts cost that have to be made ready before an envelope is applied, in operations."""
    op_by_target = {op.target: op for op in envelope.ops if isinstance(op, TextEdit)}
    return sum([state.waking(op) for op in op_by_target.values()])


def work(state: RoomState, envelope: Envelope) -> int:
    """What an envelope's edits of large texts may cost: cuts times bytes."""
    sized = [(op, state.text_bytes(op)) for op in envelope.ops if isinstance(op, TextEdit)]
    return sum([cuts(op.update) * size_bytes for op, size_bytes in sized if size_bytes > SMALL_TEXT_BYTES])
