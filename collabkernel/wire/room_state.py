"""The state of a whole room to bytes and back: live values, the tree of its block documents, and their contents.

It is kept in *parts*, one a partition, whose bytes joined in order are one ``RoomState``: so a session may be sent the
parts that it wants, without encoding anything anew. A room without documents has the part ``live`` alone.

The contents of blocks are cut in document order behind the blocks whose ids hash to zero: an edit, an insert or a move
changes the parts that it touches and leaves the bytes of the others, so a snapshot writes what was edited alone.
(Content-defined chunking: Muthitacharoen et al., "A low-bandwidth network file system", SOSP 2001, section 3.1.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, cast

from collabkernel.crdt.ids import OpId, Stamp
from collabkernel.crdt.lww import Register
from collabkernel.crdt.move_tree import MoveTree
from collabkernel.crdt.text_doc import EMPTY_STATE
from collabkernel.crdt.tree.rows import NodeRow
from collabkernel.document.block import DOCUMENT, FOUNDED, NAME, TYPE, Block, Placed
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.block_registry import StoredBlocks
from collabkernel.document.block_text import BlockRope
from collabkernel.document.room_state import RoomState
from collabkernel.errors import MalformedFrameError
from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire import fast_reader, fast_state, ops, strict
from collabkernel.wire.state import collector_paused, cut, encode_state, live_tree_of, map_entry, registers_of
from collabkernel.wire.tree_state import DecodedTree, Joined, TreeRow, decode_tree, encode_tree
from collabkernel.wire.writer import field_bytes, field_varint

LIVE: Final = "live"
"""The part with seq, highest stamp, and live values."""
TREE: Final = "tree"
"""The part with where blocks stand, and what they are."""
BLOCKS: Final = "blocks/"
"""What the names of parts with the properties and texts of blocks begin with; a number follows, from 1."""

PURGED: Final = "purged"
"""The part that tells the last purge; there is none before the first."""

PLACES: Final = (LIVE, TREE, PURGED)
"""The parts that a session begins with that asks for the contents of what it looks at."""
PART_BLOCKS: Final = 128
"""Blocks of a part, on average: one that changed is some 50 KB to write, and a manifest has a line for each."""


def encode_parts(state: RoomState, seq: int, hlc: int) -> dict[str, bytes]:
    """The parts of a state whose operations were all judged.

    Args:
        state: What the room holds.
        seq: The seq up to which it is folded.
        hlc: The highest HLC among the folded operations, 0 for none.
    """
    parts = {LIVE: encode_state(state.tree, seq, hlc)}
    blocks = state.blocks
    if blocks is not None and len(blocks.tree):
        rows = [_row_of(blocks.blocks[node.id], node) for node in blocks.tree.rows()]
        parts[TREE] = field_bytes(4, encode_tree(rows, blocks.tree.rekeys()))
        parts |= {f"{BLOCKS}{number}": part for number, part in enumerate(_block_parts(blocks, rows), 1)}
    if state.purged_seq:
        parts[PURGED] = field_varint(6, state.purged_seq)
    return parts


def join_parts(parts: Mapping[str, bytes]) -> bytes:
    """The ``RoomState`` that parts make together."""
    contents = sorted((name for name in parts if name.startswith(BLOCKS)), key=lambda name: int(name[len(BLOCKS) :]))
    names = [name for name in (LIVE, TREE, *contents, PURGED) if name in parts]
    return b"".join([parts[name] for name in names])


def encode_contents(blocks: BlockDocument, ids: Iterable[OpId]) -> bytes:
    """What some blocks hold beside what the tree tells of them: of one that holds nothing, the id."""
    return b"".join([_block(id, _content(blocks, id)) for id in ids])


def encode_new(ids: Iterable[OpId]) -> bytes:
    """Some blocks as those that hold nothing: what is in them follows as operations."""
    return b"".join([_block(id, b"") for id in ids])


class BlockContents(NamedTuple):
    """What one block holds beside what the tree tells of it."""

    id: OpId
    registers: list[tuple[str, Register]]
    yjs_state: bytes
    """Of its rope; empty when nothing was typed in it, or it has none of its own."""


def decode_contents(data: bytes) -> list[BlockContents]:
    """The blocks that ``encode_contents`` wrote.

    Raises:
        RemoteProtocolError: It did not.
    """
    message = strict.parse(pb.RoomState, data)
    if message.seq or message.hlc or message.containers or message.HasField("tree") or message.purged_seq:
        raise strict.out_of_range("contents", "more than blocks")
    found = []
    for block in message.blocks:
        id = strict.container_id(block.id.site, block.id.counter)
        registers = registers_of(block.properties, {})[0]
        if TYPE in registers:
            raise strict.out_of_range("contents of a block", id)
        found.append(BlockContents(id, list(registers.items()), block.yjs_state))
    if [each.id for each in found] != sorted({each.id for each in found}):
        raise strict.out_of_range("contents", "doubled, or out of order")
    return found


def decode_room(
    data: bytes, client_id: int | None, *, is_trusted: bool = False, checked: BlockDocument | None = None
) -> tuple[RoomState, int, int]:
    """The state, seq and highest HLC of a ``RoomState``.

    Args:
        data: Its bytes.
        client_id: The site that will edit it; None where nothing is edited locally.
        is_trusted: Whether texts of blocks are our own, and are looked at when somebody asks for one.
        checked: What was here before: a text that is the same bytes there is not checked again.

    Raises:
        RemoteProtocolError: As ``decode_state`` of live values.
    """
    parts = cut(data)
    state = RoomState(live_tree_of(parts, client_id), purged_seq=parts.purged_seq)
    if parts.tree is not None:
        with collector_paused():
            ropes = {} if checked is None else checked.ropes
            state.blocks = _blocks_of(parts.tree, parts.blocks, client_id or 0, ropes, is_trusted)
    elif parts.blocks:
        raise strict.missing("tree of the blocks")
    return state, parts.seq, parts.hlc


# -- blocks


def _block_parts(blocks: BlockDocument, rows: Iterable[TreeRow]) -> Iterator[bytes]:
    part: list[bytes] = []
    for row in rows:
        if content := _content(blocks, row.node.id):
            part.append(_block(row.node.id, content))
        if part and _ends_part(row.node.id):
            yield b"".join(part)
            part = []
    if part:
        yield b"".join(part)


def _ends_part(id: OpId) -> bool:
    # Knuth's multiplicative hash of both numbers; its high bits are the mixed ones.
    return (id.counter * 0x9E3779B1 + id.site * 0x85EBCA6B) % 2**32 * PART_BLOCKS < 2**32


def _row_of(block: Block, node: NodeRow) -> TreeRow:
    properties, placed = block.properties, block.placed
    if block.is_root:
        return TreeRow(node, cast(str, properties.get(NAME)), None)
    type_ = cast(tuple[Stamp, str], properties.register(TYPE))
    joined = None if placed is None else Joined(placed.seq, placed.site, placed.base)
    return TreeRow(node, "", type_, block.rope_id if block.is_split else None, joined)


def _content(blocks: BlockDocument, id: OpId) -> bytes:
    """What the tree does not tell of a block; empty when that is nothing."""
    block, rope = blocks.blocks[id], blocks.ropes.get(id)
    told = (TYPE, NAME) if block.is_root else (TYPE,)
    entries = [
        field_bytes(2, map_entry(key, *register)) for key, register in block.properties.registers() if key not in told
    ]
    state = b"" if rope is None else rope.encode_state()
    text = field_bytes(3, state) if len(state) > len(EMPTY_STATE) else b""
    return b"".join([*entries, text])


def _block(id: OpId, content: bytes) -> bytes:
    return field_bytes(5, field_bytes(1, ops.op_id_bytes(id)) + content)


def _blocks_of(
    tree: bytes, contents: list[bytes], client_id: int, checked: Mapping[OpId, BlockRope], is_trusted: bool
) -> BlockDocument:
    decoded = decode_tree(tree)
    blocks = BlockDocument(client_id, MoveTree.restore(decoded.nodes, decoded.rekeys))
    _enter_places(blocks, decoded)
    entered = set()
    for body in contents:
        id, properties, yjs_state = _content_of(body)
        entered.add(id)
        if id not in blocks or not (properties or yjs_state):
            raise strict.out_of_range("contents of a block", id)
        if properties:
            _enter_properties(blocks, id, registers_of(properties, {})[0])
        if yjs_state:
            is_checked = id in checked and checked[id].encode_state() == yjs_state
            blocks.enter_rope(id, yjs_state, is_trusted=is_trusted or is_checked)
    if len(entered) != len(contents):
        raise MalformedFrameError("state with a doubled block")
    return blocks


def _content_of(body: bytes) -> tuple[OpId, Sequence[pb.MapEntry], bytes]:
    """Id, properties and text of a ``BlockState``."""
    try:
        id, yjs_state = fast_state.read_text(body)
    except fast_reader.NOT_READ:
        message = strict.parse(pb.BlockState, body)
        return strict.container_id(message.id.site, message.id.counter), message.properties, message.yjs_state
    return id, (), yjs_state


def _enter_places(blocks: BlockDocument, decoded: DecodedTree) -> None:
    """Enter the blocks with what the tree tells of them; they are made when somebody asks for one."""
    nodes = decoded.nodes
    roots = [row for row, node in enumerate(nodes) if node[1] is None]
    if roots != decoded.types.rows_without():
        raise strict.missing("type of a block, or a document without one")
    splits, joined = decoded.split_by_row, decoded.joined_by_row
    placed = {row: Placed(*each) for row, each in joined.items()}
    blocks.enter_stored([node[0] for node in nodes], StoredBlocks(decoded.types, splits, placed))
    for row, name in zip(roots, decoded.names, strict=True):
        id = nodes[row].id
        if row in splits or row in joined:
            raise strict.out_of_range("document", id)
        blocks.enter(Block(id, id, [(TYPE, (FOUNDED, DOCUMENT)), (NAME, (FOUNDED, name))]))


def _enter_properties(blocks: BlockDocument, id: OpId, registers: dict[str, Register]) -> None:
    block = blocks.blocks[id]
    if TYPE in registers or (block.is_root and NAME in registers):
        raise strict.out_of_range("contents of a block", id)
    blocks.enter_properties(block, registers)
