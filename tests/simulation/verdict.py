"""What must hold of a simulated world when it has come to rest."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator
from collections.abc import Set as AbstractSet
from hashlib import sha256

from collabkernel.crdt.ids import KEEPER_SITE, OpId
from collabkernel.crdt.yjs.parse import Reader
from collabkernel.crdt.yjs.policy import DELETED, ROPE_POLICY, STRING
from collabkernel.crdt.yjs.structs import Struct, read_update
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.live_tree import LiveTree, TextNode
from collabkernel.document.operations import Purge, TreeOp
from collabkernel.document.room_state import RoomState
from collabkernel.room.fold import Fold
from collabkernel.server.reader import Reader as LogReader
from collabkernel.storage.base import OpRow
from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire.ops import decode_op, encode_op
from collabkernel.wire.room_state import LIVE, TREE, encode_parts
from collabkernel.wire.state import encode_state
from tests.crdt.naive_move_tree import NaiveTree
from tests.document.tree_world import check_tree
from tests.simulation.ledger import surviving
from tests.simulation.random_world import World
from tests.simulation.room_server import ROOM


class Past(AbstractSet[OpId]):
    """All that the author of an operation had seen, and it itself: his own, and the log up to its base."""

    def __init__(self, seq_by_op: dict[OpId, int], op_id: OpId, base: int) -> None:
        self._seq_by_op = seq_by_op
        self._op_id = op_id
        self._base = base

    def __contains__(self, op: object) -> bool:
        assert isinstance(op, OpId)
        if op.site == self._op_id.site:
            return op.counter <= self._op_id.counter
        return self._seq_by_op[op] <= self._base

    def __iter__(self) -> Iterator[OpId]:
        return (op for op in self._seq_by_op if op in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __or__(self, other: AbstractSet[OpId]) -> Past:  # type: ignore[override]  # it has its own operation already
        assert set(other) == {self._op_id}
        return self


def check(world: World, loop: asyncio.Runner) -> None:
    """All of it."""
    rows = world.server.rows()
    assert not [error for writer in world.writers for error in writer.refused], "an honest edit was refused"
    world.ledger.check_log(row for row in rows if row.site != KEEPER_SITE)
    fold = folded(rows)
    assert fold.state.blocks is not None
    _check_bytes(world, fold, loop)
    check_tree(fold.state.blocks.tree, _judged(rows))
    check_text(fold.state, rows)
    _check_readers(world, fold.state.blocks)


def folded(rows: list[OpRow]) -> Fold:
    fold = Fold()
    fold.apply_rows(rows)
    fold.settle()
    assert not fold.skipped
    return fold


def encoded(state: RoomState, fold: Fold) -> dict[str, bytes]:
    """A state as a snapshot has it, but what servers alone note of blocks, and each text in its one canonical form.

    A replica keeps what it may have to bring back of a deleted text, and yrs cuts runs as they came to it.
    """
    blocks = state.blocks
    placed = {block: block.placed for block in blocks.blocks.values()} if blocks is not None else {}
    for block in placed:
        block.placed = None
    try:
        parts = encode_parts(state, fold.seq, fold.hlc)
    finally:
        for block, was in placed.items():
            block.placed = was
    return {
        LIVE: live_values(parts[LIVE]),
        TREE: parts.get(TREE, b""),
        "contents": repr(_contents_of(blocks)).encode(),
    }


def digest(tree: LiveTree) -> str:
    """Of all that a replica holds of live values."""
    return sha256(live_values(encode_state(tree, 0, 0))).hexdigest()


def live_values(part: bytes) -> bytes:
    """Live values, each text in its canonical form."""
    live = pb.RoomState.FromString(part)
    for container in live.containers:
        if container.yjs_state:
            container.yjs_state = repr(_canonical(container.yjs_state)).encode()
    return bytes(live.SerializeToString(deterministic=True))


def _contents_of(blocks: BlockDocument | None) -> list[object]:
    if blocks is None:
        return []
    told = ((id, block.properties.registers()) for id, block in sorted(blocks.blocks.items()))
    ropes = ((id, _canonical(rope.encode_state())) for id, rope in sorted(blocks.ropes.items()))
    return [list(told), [(id, units) for id, units in ropes if units]]


def _canonical(state: bytes) -> list[object]:
    """A text by its units: client, clock, what it was put between, and what it is, if it was not deleted."""
    update = read_update(state, ROPE_POLICY, None)
    gone = {
        (client, clock)
        for client, ranges in update.deletes.items()
        for start, end in ranges
        for clock in range(start, end)
    }
    units: list[object] = []
    for client, structs in sorted(update.structs.items()):
        for struct in structs:
            for i, content in enumerate(_contents(state, struct)):
                clock = struct.clock + i
                origin = (client, clock - 1) if i else struct.origin
                alive = None if (client, clock) in gone or struct.kind == DELETED else (struct.kind, content)
                units.append((client, clock, origin, struct.right, alive))
    return units


def _contents(state: bytes, struct: Struct) -> list[object]:
    """What each clock of a struct holds."""
    if struct.kind == STRING:
        text = Reader(state, at=struct.content).string("a text")
        return [unit for char in text for unit in ((char, "") if char > "\uffff" else (char,))]
    return [state[struct.content : struct.end]] * struct.length


def _check_bytes(world: World, fold: Fold, loop: asyncio.Runner) -> None:
    """All replicas, what a server makes of its snapshot and the log since, and the whole log folded, are the same."""
    expected = encoded(fold.state, fold)
    loaded, snapshot_seq = loop.run(LogReader(world.server.storage).load(ROOM))
    assert snapshot_seq, "there was a snapshot"
    assert encoded(loaded.state, fold) == expected, "a snapshot and the log since is not what the log says"
    for writer in world.writers:
        assert encoded(writer.replica.state, fold) == expected, f"{writer.name} sees something else than the log"


def _judged(rows: list[OpRow]) -> NaiveTree:
    """The tree as the oracle makes it out of the log."""
    oracle = NaiveTree()
    seq_by_op: dict[OpId, int] = {}
    for row in rows:
        op_id = OpId(row.site, row.counter)
        seq_by_op[op_id] = row.seq
        op = decode_op(row.payload)
        if isinstance(op, TreeOp):
            oracle.apply(op_id, op, Past(seq_by_op, op_id, row.base))
    return oracle


def check_purged(fold: Fold, rows: list[OpRow]) -> set[OpId]:
    """Whatever of blocks was purged: all that lives is as if nothing had been. The blocks that are gone."""
    nothing = Purge(OpId(2, 1), (OpId(2, 1),))
    whole = folded([row._replace(payload=encode_op(nothing)) if _is_of_blocks(row) else row for row in rows])
    before, after = whole.state.blocks, fold.state.blocks
    if before is None or after is None:
        return set()
    assert _living(after) == _living(before), "a purge has changed what lives"
    return set(before.blocks) - set(after.blocks)


def _is_of_blocks(row: OpRow) -> bool:
    op = decode_op(row.payload)
    return isinstance(op, Purge) and op.is_of_blocks


def _living(blocks: BlockDocument) -> list[object]:
    tree = blocks.tree
    rows = [row for row in tree.rows() if tree.is_alive(row.id)]
    rekeys = [each for each in tree.rekeys() if tree.is_alive(each[0])]
    contents = [(blocks.delta(row.id), blocks.blocks[row.id].properties.registers()) for row in rows]
    return [rows, rekeys, contents]


def check_text(state: RoomState, rows: list[OpRow], purged: Collection[OpId] = ()) -> None:
    """Each text has what was typed in it and nobody deleted, once; and each live block's is shown once.

    Args:
        state: What the log says.
        rows: The log.
        purged: Blocks that are gone, with their texts.
    """
    expected = surviving(rows)
    for block in purged:
        expected.pop(block, None)
    for node in state.tree.in_order():
        if isinstance(node, TextNode):
            assert Counter(str(node.rope)) == expected.pop(node.id, Counter()), f"text {node.id}"
    blocks = state.blocks
    assert blocks is not None
    for id, rope in blocks.ropes.items():
        stretches = rope.stretches(blocks.counts(rope))
        found = Counter("".join([rope.text(each) for each in stretches]))
        assert found == expected.pop(id, Counter()), f"rope {id}"
        named = [each.block for each in stretches]
        assert len(named) == len(set(named))
    assert not expected, "typed in ropes that are not there"
    hosts = [block for root in blocks.tree.roots() for block in blocks.tree.in_order(root)]
    parts = [part for host in hosts for part in blocks.parts(host)]
    assert sorted(parts) == sorted(set(parts))


def _check_readers(world: World, whole: BlockDocument) -> None:
    """Who looks at a part has all places, and all of what it looks at."""
    for reader in world.readers:
        onlooker = reader.onlooker
        assert onlooker.through == world.server.head
        assert list(onlooker.document.tree.rows()) == list(whole.tree.rows())
        assert onlooker.has >= {block for block in reader.blocks if block in whole.tree}
        for block in onlooker.has & whole.blocks.keys():
            assert onlooker.document.stretch(block) == whole.stretch(block)
            assert onlooker.document.text(block) == whole.text(block) or len(whole.parts(block)) > 1
