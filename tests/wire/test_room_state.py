"""The state of a room with documents to bytes and back, in parts that are joined."""

from __future__ import annotations

import random

import pytest

from collabkernel.crdt.ids import ROOT, OpId, Slot, Stamp
from collabkernel.crdt.order_key import key_between
from collabkernel.crdt.yjs.update import YjsState
from collabkernel.document.block import NAME, TYPE
from collabkernel.document.operations import BlockInsert, MapSet, NewDocument, document_id
from collabkernel.document.room_state import RoomState
from collabkernel.errors import MalformedFrameError
from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire.room_state import (
    BLOCKS,
    LIVE,
    PART_BLOCKS,
    PLACES,
    PURGED,
    TREE,
    BlockContents,
    decode_contents,
    decode_room,
    encode_contents,
    encode_new,
    encode_parts,
    join_parts,
)
from collabkernel.wire.state import encode_state
from tests.client.log_world import World

pytestmark = pytest.mark.core


def sample() -> RoomState:
    """A room with two documents, in which blocks were split, merged, deleted, formatted."""
    world = World(2)
    ann, bob = (room.doc("body") for room in world.rooms)
    world.settle()
    one, two, three = ann.append("one one\n\ntwo two\n\nthree")
    one.format(0, 3, bold=True)
    two["done"] = True
    one.split(3)
    three.merge()
    world.settle()
    bob.insert("four", before=bob[0])[0].delete()
    world.rooms[1].doc("notes").append("aside")
    world.rooms[0].map("board")["k"] = 1
    two.type = "heading"
    world.settle()
    world.log.state.purged_seq = 7
    return world.log.state


def plain(state: RoomState) -> object:
    """What a state holds, in a form to compare."""
    blocks = state.blocks
    assert blocks is not None
    contents = {id: (b.properties.registers(), b.placed, blocks.delta(id)) for id, b in blocks.blocks.items()}
    return state.tree.to_json(), list(blocks.tree.rows()), contents, blocks.documents()


def test_what_is_written_is_read():
    state = sample()
    parts = encode_parts(state, 40, 1 << 60)

    read, seq, hlc = decode_room(join_parts(parts), client_id=5)

    assert (seq, hlc) == (40, 1 << 60)
    assert read.purged_seq == 7
    assert plain(read) == plain(state)
    assert encode_parts(read, 40, 1 << 60) == parts
    assert read.blocks is not None
    assert read.blocks.client_id == 5


def test_parts_joined_are_one_message():
    parts = encode_parts(sample(), 40, 7)
    assert tuple(parts) == (LIVE, TREE, f"{BLOCKS}1", PURGED)

    message = pb.RoomState.FromString(join_parts(parts))

    assert message.SerializeToString() == join_parts(parts)
    assert message.tree.names == sorted(["body", "notes"], key=document_id)
    without_contents = {name: part for name, part in parts.items() if not name.startswith(BLOCKS)}
    tree_alone, _, _ = decode_room(join_parts(without_contents), None)
    assert tree_alone.blocks is not None
    assert len(tree_alone.blocks.tree) == len(sample().blocks.tree)  # type: ignore[union-attr]  # it has blocks


def test_a_room_without_documents_is_as_before():
    state = RoomState()
    assert encode_parts(state, 3, 4) == {LIVE: encode_state(state.tree, 3, 4)}
    assert decode_room(encode_state(state.tree, 3, 4), None)[0].blocks is None


SPOILT = {
    "contents without a tree": lambda m: m.ClearField("tree"),
    "contents of a block that is not there": lambda m: setattr(m.blocks[0].id, "counter", 12345),
    "a doubled block": lambda m: m.blocks.append(m.blocks[0]),
    "contents of nothing": lambda m: (m.blocks[0].ClearField("properties"), m.blocks[0].ClearField("yjs_state")),
    "a type in the contents": lambda m: _add_type(m.blocks[0]),
    "a block without a type": lambda m: _without_type(m.tree),
    "an unknown field": lambda m: m.ParseFromString(m.SerializeToString() + b"\x40\x01"),
}


def _without_type(tree: pb.TreeState) -> None:
    tree.row_types[1] = 0
    tree.type_hlcs.pop()
    tree.type_sites.pop()


def _add_type(block: pb.BlockState) -> None:
    entry = block.properties.add(key="type")
    entry.register.hlc, entry.register.site = 1, 1
    entry.register.value.text = "code"


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_state_is_refused(what: str):
    message = pb.RoomState.FromString(join_parts(encode_parts(sample(), 40, 7)))
    SPOILT[what](message)

    with pytest.raises(MalformedFrameError):
        decode_room(message.SerializeToString(), None)


def test_ids_of_contents_are_of_blocks():
    assert OpId(0, 0) not in sample().blocks.blocks  # type: ignore[union-attr]  # it has blocks


def test_contents_of_some_blocks_there_and_back():
    blocks = sample().blocks
    assert blocks is not None
    ids = sorted(blocks.blocks)

    found = decode_contents(encode_contents(blocks, ids))

    assert [each.id for each in found] == ids
    for each in found:
        told = (TYPE, NAME) if blocks.blocks[each.id].is_root else (TYPE,)
        registers = [entry for entry in blocks.blocks[each.id].properties.registers() if entry[0] not in told]
        assert each.registers == registers
        rope = blocks.ropes.get(each.id)
        assert each.yjs_state == (rope.encode_state() if rope is not None else b"")
    assert any(each.registers for each in found)
    assert any(each.yjs_state for each in found)
    assert decode_contents(encode_new(ids[:2])) == [BlockContents(id, [], b"") for id in ids[:2]]


def test_spoilt_contents_are_refused():
    state = sample()
    assert state.blocks is not None
    contents = encode_contents(state.blocks, sorted(state.blocks.blocks))
    message = pb.RoomState.FromString(contents)
    _add_type(message.blocks[1])

    for spoilt in (contents + contents, join_parts(encode_parts(state, 40, 7)), message.SerializeToString()):
        with pytest.raises(MalformedFrameError):
            decode_contents(spoilt)


@pytest.mark.interpreted
def test_a_text_that_was_checked_here_before_is_not_checked_again_and_another_is(monkeypatch: pytest.MonkeyPatch):
    parts = encode_parts(sample(), 40, 7)
    before, _, _ = decode_room(join_parts(parts), 5)
    assert before.blocks is not None
    (rope_id, *others) = [id for id, rope in before.blocks.ropes.items() if not rope.rope.is_empty]
    before.blocks.rope(rope_id).insert(0, "more")
    count, checks = len(others), list[bytes]()
    check = YjsState.check
    monkeypatch.setattr(YjsState, "check", lambda *args: checks.append(args[1]) or check(*args))

    after, _, _ = decode_room(join_parts(parts), 5, checked=before.blocks)

    assert len(checks) == 1, f"{count} are the same"
    assert count > 0
    assert encode_parts(after, 40, 7) == parts


def test_a_partial_state_has_places_and_no_contents():
    parts = encode_parts(sample(), 40, 7)
    state, _, _ = decode_room(join_parts({name: parts[name] for name in PLACES}), None)
    whole = sample().blocks

    assert state.blocks is not None
    assert whole is not None
    assert list(state.blocks.tree.rows()) == list(whole.tree.rows())
    assert not state.blocks.ropes


@pytest.mark.heavy
def test_a_long_document_is_joined_at_few_bytes_a_block_however_much_is_in_it():
    """What a session that looks at a part begins with: issue 4 asks for at most 40 bytes a block."""
    rng = random.Random(4)
    state, count = RoomState(), 3000
    state.tell(False)
    body, key_by_site = document_id("body"), dict[int, str]()
    state.apply(OpId(1, 1), Stamp(1, 1), NewDocument(ROOT, "body"))
    state.judge(1, 0, OpId(1, 1), NewDocument(ROOT, "body"))
    for seq in range(2, count + 2):
        site = rng.randrange(1, 2**32) if seq % 100 == 2 or not key_by_site else rng.choice(list(key_by_site))
        key_by_site[site] = key_between(key_by_site.get(site), None, site)
        op_id, stamp = OpId(site, seq), Stamp((1_795_000_000_000 << 16) + seq * 65_536_000, site)
        insert = BlockInsert(body, Slot.CHILD, key_by_site[site], rng.choice(["paragraph", "heading", "list-item"]))
        state.apply(op_id, stamp, insert)
        state.judge(seq, seq - 1, op_id, insert)
        state.apply(OpId(site, seq + count), stamp, MapSet(op_id, "note", "x" * 200))

    parts = encode_parts(state, count + 1, 7)

    assert len(parts[TREE]) <= 40 * count
    assert sum(len(part) for name, part in parts.items() if name.startswith(BLOCKS)) > 200 * count


@pytest.mark.heavy
def test_an_edit_changes_the_part_that_it_is_in_and_no_other():
    world, count = World(1), 20 * PART_BLOCKS
    doc = world.rooms[0].doc("body")
    world.settle()
    for first in range(0, count, 500):
        doc.append("\n\n".join(f"paragraph {number}" for number in range(first, min(first + 500, count))))
        world.settle()
    blocks = list(doc)

    def contents() -> set[bytes]:
        parts = encode_parts(world.log.state, 1, 1)
        return {part for name, part in parts.items() if name.startswith(BLOCKS)}

    before = contents()
    assert count / PART_BLOCKS / 4 <= len(before) <= 4 * count / PART_BLOCKS
    for edit, changed_max in (
        (lambda: blocks[700].insert(0, "more "), 1),
        (lambda: doc.insert("new", before=blocks[900]), 1),
        (lambda: blocks[300].move(after=blocks[1500]), 3),  # where it was, where it is, and where a cut went
        (lambda: blocks[1000].delete(), 3),
    ):
        edit()
        world.settle()
        after = contents()
        assert 1 <= len(after - before) <= changed_max
        before = after
