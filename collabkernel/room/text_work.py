"""What an edit of a text costs the server beside its bytes.

yrs keeps what one author has typed in a row as one string, and an edit in its midst cuts it: a walk over all of it.
10,000 deletions of one character in a text of 5 MB are an update of 31 KB and nine seconds of work (0.1 to 0.2 ns a cut
and a byte). So the work of an envelope, cuts times the text's size, is metered and bounded. Each cut also leaves two
pieces, of 400 bytes together in memory and 30 in a snapshot, which the bytes of the update do not show; ``RoomSizes``
counts them until the text is encoded anew and shows its size.
"""

from __future__ import annotations

from collections.abc import Callable

from collabkernel.crdt.ids import OpId, Stamp
from collabkernel.crdt.yjs_parse import Reader
from collabkernel.crdt.yjs_policy import DELETED, EMBED, FORMAT, HAS_KEY, HAS_ORIGIN, HAS_RIGHT_ORIGIN, STRING
from collabkernel.document.live_tree import LiveTree, MapNode, TextNode, Undo
from collabkernel.document.operations import Envelope, MapDelete, MapSet, Op, TextEdit
from collabkernel.errors import InvalidYjsUpdateError

CUT_BYTES = 128
"""What a cut is counted as in a room: more than its snapshot takes, less than its memory."""
WORK_PER_TOKEN = 700_000
"""Work that costs as much as one operation: about 0.1 ms."""
SMALL_TEXT_BYTES = 64 << 10
"""In a text of this size as many cuts as an update may have cost a tenth of a second; it is not looked at."""
REWOUND_BYTES_PER_TOKEN = 250
"""Text that is gone back over at the price of one operation."""


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


class RoomSizes:
    """Counts what a room's tree does not: texts by what they take encoded, and since then by their updates and cuts;
    keys by their bytes."""

    def __init__(self, tree: LiveTree) -> None:
        self._tree = tree
        self._bytes_by_text: dict[OpId, int] = {}
        self._undone: list[tuple[OpId, int]] = []

    def apply(self, op_id: OpId, stamp: Stamp, op: Op) -> None:
        """``LiveTree.apply``, counted."""
        self._counted(op, lambda: self._tree.apply(op_id, stamp, op))

    def apply_undoable(self, op_id: OpId, stamp: Stamp, op: Op) -> Undo:
        """``LiveTree.apply_undoable``, counted."""
        undos: list[Undo] = []
        self._counted(op, lambda: undos.append(self._tree.apply_undoable(op_id, stamp, op)[1]))
        return undos[0]

    def _counted(self, op: Op, apply: Callable[[], object]) -> None:
        tree = self._tree
        node = tree.nodes.get(op.target)
        if isinstance(op, MapSet | MapDelete) and not op.key.isascii() and isinstance(node, MapNode):
            is_new = node.entries.register(op.key) is None
            apply()
            tree.size_bytes += len(op.key.encode()) - len(op.key) if is_new else 0
            return
        if not isinstance(op, TextEdit) or not isinstance(node, TextNode):
            apply()
            return
        rope = node.rope
        tree_bytes, rope_bytes = tree.size_bytes, rope.size_bytes
        before = self._bytes_by_text.get(op.target, rope_bytes)
        apply()
        grown = rope.size_bytes - rope_bytes
        is_encoded_anew = grown not in (0, len(op.update))
        after = before
        if grown:
            after = rope.size_bytes if is_encoded_anew else before + grown + cuts(op.update) * CUT_BYTES
        self._bytes_by_text[op.target] = after
        tree.size_bytes = tree_bytes + after - before
        self._undone.append((op.target, before))

    def settle(self) -> None:
        """What was applied stays."""
        self._undone.clear()

    def undo(self) -> None:
        """All since the last ``settle`` was taken back."""
        for target, before in reversed(self._undone):
            self._bytes_by_text[target] = before
        self._undone.clear()


def text_bytes(tree: LiveTree, op: TextEdit) -> int:
    """The size of the text that an operation edits; 0 when there is none."""
    node = tree.nodes.get(op.target)
    return node.rope.size_bytes if isinstance(node, TextNode) else 0


def work(tree: LiveTree, envelope: Envelope) -> int:
    """What an envelope's edits of large texts may cost: cuts times bytes."""
    sized = [(op, text_bytes(tree, op)) for op in envelope.ops if isinstance(op, TextEdit)]
    return sum([cuts(op.update) * size_bytes for op, size_bytes in sized if size_bytes > SMALL_TEXT_BYTES])


def rewound_bytes(tree: LiveTree, ops: tuple[Op, ...]) -> int:
    """The texts that had to be gone back over when an envelope was refused: one edit alone is never half-done."""
    edits = [op for op in ops if isinstance(op, TextEdit)]
    if len(edits) < 2:
        return 0
    return sum({op.target: text_bytes(tree, op) for op in edits}.values())
