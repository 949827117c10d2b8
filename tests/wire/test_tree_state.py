"""The columns of the tree: what goes in comes out, in few bytes, and nothing else is let through."""

from __future__ import annotations

import random
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.ids import OpId, Slot, Stamp
from collabkernel.crdt.move_tree import MoveTree
from collabkernel.crdt.order_key import key_between
from collabkernel.document.operations import document_id
from collabkernel.errors import MalformedFrameError
from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire.tree_state import Joined, TreeRow, decode_tree, encode_tree

pytestmark = pytest.mark.core

HLC = 1_795_000_000_000 << 16
TYPES = ("paragraph", "heading", "list-item", "code")
NAMES = ("body", "notes")


def random_tree(seed: int, ops_count: int, sites: tuple[int, ...] = (5, 0xDEADBEEF, 2**32 - 1)) -> MoveTree:
    """A tree after random operations of several sites, some of which had not seen the newest."""
    rng = random.Random(seed)
    tree = MoveTree()
    nodes = [document_id(name) for name in NAMES]
    for node in nodes:
        tree.add_root(node)
    for seq in range(1, ops_count + 1):
        site = rng.choice(sites)
        at = {"seq": seq, "site": site, "base": seq - 1 - rng.choice((0, 0, 3))}
        parent, slot = rng.choice(nodes), rng.choice((Slot.CHILD, Slot.CHILD, Slot.INLINE))
        key = tree.key_at(parent, slot, rng.randint(0, len(tree.children(parent, slot))), site)
        action = rng.random()
        if action < 0.6:
            nodes.append(OpId(site, seq))
            tree.insert(nodes[-1], parent, slot, key, **at)
        elif action < 0.8:
            tree.move(rng.choice(nodes), parent, slot, key, **at)
        elif action < 0.95:
            tree.delete(rng.choice(nodes), **at)
        else:
            tree.rekey(parent, slot, tree.plan_rebalance(parent, slot, site), **at)
    return tree


def rows_of(tree: MoveTree, seed: int = 0) -> list[TreeRow]:
    """Rows of a tree, with types, stamps and splits of all kinds."""
    rng = random.Random(seed)
    rows = []
    for node in tree.rows():
        name = next((name for name in NAMES if document_id(name) == node.id), "")
        stamp = Stamp(HLC + rng.randint(0, 1 << 40), rng.choice((5, 7)))
        type_ = (stamp, rng.choice(TYPES)) if node.parent and rng.random() < 0.95 else None
        split = OpId(9, rng.randint(1, 2**50)) if node.parent and rng.random() < 0.1 else None
        joined = Joined(rng.randint(1, 2**50), 9, rng.randint(0, 9)) if node.parent and rng.random() < 0.1 else None
        rows.append(TreeRow(node, name, type_, split, joined))
    return rows


def read_rows(data: bytes) -> list[TreeRow]:
    """The rows that a tree was written from."""
    read = decode_tree(data)
    names = iter(read.names)
    return [
        TreeRow(
            node,
            next(names) if node.parent is None else "",
            read.types.at(row),
            read.split_by_row.get(row),
            read.joined_by_row.get(row),
        )
        for row, node in enumerate(read.nodes)
    ]


@given(st.integers(0, 2**32), st.integers(0, 60))
def test_what_is_written_is_read(seed: int, ops_count: int):
    tree = random_tree(seed, ops_count)
    rows = rows_of(tree, seed)

    encoded = encode_tree(rows, tree.rekeys())
    read = decode_tree(encoded)

    assert read_rows(encoded) == rows
    assert read.types.rows_without() == [i for i, row in enumerate(rows) if row.type is None]
    assert read.rekeys == tree.rekeys()
    assert list(MoveTree.restore(read.nodes, read.rekeys).rows()) == [row.node for row in rows]


def test_extreme_stamps_are_written():
    tree = random_tree(1, 0)
    body = document_id("body")
    for i, hlc in enumerate((2**64 - 1, 1, 2**63, HLC)):
        tree.insert(OpId(5, i + 1), body, Slot.CHILD, key_between(None, None, 5), seq=i + 1, site=5, base=0)
        rows = [
            TreeRow(node, name_of(node.id), (Stamp(hlc, 5), "code") if node.parent else None, None)
            for node in tree.rows()
        ]
        assert read_rows(encode_tree(rows, ())) == rows


def name_of(id: OpId) -> str:
    return next((name for name in NAMES if document_id(name) == id), "")


@pytest.mark.heavy
def test_a_block_takes_few_bytes():
    tree, body, key = MoveTree(), document_id("body"), None
    tree.add_root(body)
    rng = random.Random(7)
    section, blocks = body, 10_000
    hlc = HLC
    stamps = {}
    for i in range(blocks):
        site, id = 0xDEADBEEF, OpId(0xDEADBEEF, 3 * i + 1)
        parent = section if rng.random() < 0.9 else body
        key = tree.key_at(parent, Slot.CHILD, len(tree.children(parent)), site)
        tree.insert(id, parent, Slot.CHILD, key, seq=3 * i + 1, site=site, base=3 * i)
        section = id if parent is body else section
        hlc += rng.randint(1, 60_000) << 16
        stamps[id] = Stamp(hlc, site)
    rows = [
        TreeRow(node, name_of(node.id), (stamps[node.id], "paragraph") if node.parent else None, None)
        for node in tree.rows()
    ]

    encoded = encode_tree(rows, ())

    assert len(encoded) / blocks <= 24
    assert len(zlib.compress(encoded)) / blocks <= 12


def good() -> pb.TreeState:
    """A tree with two documents, nested blocks, one deleted, one with a rope of another."""
    tree = random_tree(3, 150)
    return pb.TreeState.FromString(encode_tree(rows_of(tree, 3), tree.rekeys()))


def test_the_sample_has_what_is_spoilt_below():
    state = good()
    assert state.deleted_from
    assert state.split_rows
    assert state.rekeys
    assert max(state.places) > 8


SPOILT = {
    "a column too short": lambda s: s.seqs.pop(),
    "a site that is not there": lambda s: s.id_sites.__setitem__(3, 99),
    "a doubled site": lambda s: s.sites.__setitem__(1, s.sites[0]),
    "a doubled block": lambda s: (s.id_sites.__setitem__(3, s.id_sites[2]), s.id_counters.__setitem__(3, 0)),
    "a counter of 0": lambda s: s.id_counters.__setitem__(2, -(2**40)),
    "a depth that skips": lambda s: s.places.__setitem__(1, 8),
    "a deleted block below its parent": lambda s: s.places.__setitem__(1, 6),
    "a block as a document": lambda s: s.places.__setitem__(1, 0),
    "too many parents": lambda s: s.deleted_from.append(0),
    "too few parents": lambda s: s.deleted_from.pop(),
    "a parent that is not there": lambda s: s.deleted_from.__setitem__(0, 999),
    "a key with more than the last": lambda s: s.key_heads.__setitem__(1, 5),
    "a key with a space": lambda s: setattr(s, "key_tails", s.key_tails.replace("V", " ")),
    "a seq of 0": lambda s: s.seqs.__setitem__(1, 0),
    "a seq too high": lambda s: s.seqs.__setitem__(1, 2**60),
    "a key of nothing": lambda s: (
        s.key_heads.__setitem__(1, 0),
        setattr(s, "key_tails", "\n\n" + s.key_tails.split("\n", 2)[2]),
    ),
    "a key too long": lambda s: setattr(s, "key_tails", s.key_tails[:-1] + "V" * 300),
    "a block of site 0": lambda s: s.id_sites.__setitem__(2, s.id_sites[0]),
    "a stamp of 0": lambda s: s.type_hlcs.__setitem__(0, 0),
    "a stamp of site 0": lambda s: s.type_sites.__setitem__(0, s.id_sites[0]),
    "a name too few": lambda s: s.names.pop(),
    "a wrong name": lambda s: s.names.__setitem__(0, "nobody"),
    "a name too many": lambda s: s.names.append("more"),
    "a type that is not there": lambda s: s.row_types.__setitem__(2, 9),
    "a stamp too many": lambda s: (s.type_hlcs.append(1), s.type_sites.append(1)),
    "a split too many": lambda s: (s.split_rows.append(9999), s.split_sites.append(1), s.split_counters.append(1)),
    "a joined row that is not there": lambda s: s.joined_rows.__setitem__(0, 9999),
    "a rekey of nothing": lambda s: setattr(s.rekeys[0].parent, "counter", 12345),
    "a rekey with a key too few": lambda s: s.rekeys[0].new_keys.pop(),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_tree_is_refused(what: str):
    state = good()
    decode_tree(state.SerializeToString())
    SPOILT[what](state)

    with pytest.raises(MalformedFrameError):
        decode_tree(state.SerializeToString())


def test_blocks_deleted_from_below_each_other_are_refused():
    tree, body = MoveTree(), document_id("body")
    tree.add_root(body)
    for i, parent in ((1, body), (2, OpId(5, 1)), (3, body)):
        tree.insert(OpId(5, i), parent, Slot.CHILD, key_between(None, None, 5), seq=i, site=5, base=i - 1)
    tree.delete(OpId(5, 3), seq=4, site=5, base=3)
    tree.delete(OpId(5, 1), seq=5, site=5, base=4)
    rows = [TreeRow(node, name_of(node.id), None, None) for node in tree.rows()]
    circle = [
        row._replace(node=row.node._replace(parent=OpId(5, 2))) if row.node.id == OpId(5, 1) else row for row in rows
    ]

    assert read_rows(encode_tree(rows, ())) == rows
    with pytest.raises(MalformedFrameError, match="circle"):
        decode_tree(encode_tree(circle, ()))


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes):
    with suppress(MalformedFrameError):
        decode_tree(data)


def test_the_bytes_stay_what_they_are():
    """Snapshots in databases are written so."""
    tree, body = MoveTree(), document_id("body")
    tree.add_root(body)
    key = key_between(None, None, 5)
    tree.insert(OpId(5, 2), body, Slot.CHILD, key, seq=2, site=5, base=0)
    tree.insert(OpId(5, 3), OpId(5, 2), Slot.INLINE, key, seq=3, site=5, base=0)
    tree.insert(OpId(0xDEADBEEF, 9), body, Slot.CHILD, key_between(key, None, 9), seq=4, site=9, base=2)
    tree.delete(OpId(5, 2), seq=5, site=5, base=2)
    rows = [
        TreeRow(node, name_of(node.id), (Stamp(HLC + i, 5), TYPES[i % 2]) if node.parent else None)
        for i, node in enumerate(tree.rows())
    ]
    rows[1] = rows[1]._replace(split=OpId(5, 2), joined=Joined(4, 9, 2))

    assert encode_tree(rows, ()).hex() == FROZEN
    assert read_rows(bytes.fromhex(FROZEN)) == rows
    assert decode_tree(bytes.fromhex(FROZEN)).rekeys == []


FROZEN = (
    "0a0800effdb6f50d05091204626f64791a0400010202220be2c79bfad8dac80d1204022a04000402053201003a040000090a"
    "42170a793030303030356130793030303030396130560a560a4a04000802035204000302025a0768656164696e675a097061"
    "726167726170686204000102016a0b828080e0cb95f7a103020272030202027a0101820101028a010102920101019a010104"
    "a2010103aa010102"
)
