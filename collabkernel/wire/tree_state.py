"""The tree of block documents to bytes and back: columns of small numbers, about 15 bytes a block.

A row is a node with what everybody needs of its block even when it is off the screen: where it stands, since which
operation, its type, and which rope its text is in. ``TreeState`` in collab.proto tells the columns. A parent is told by
the depth, since rows stand in document order; keys by what differs from the last row's; ids, seqs and stamps by how far
they are from the last row's.

Reading is strict as in ``strict.py``. Frozen by ``tests/wire/test_tree_state.py``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from collabkernel.crdt.ids import OpId, Slot, Stamp
from collabkernel.crdt.tree.rekeys import Rekey
from collabkernel.crdt.tree.rows import NodeRow
from collabkernel.document.block_registry import StoredTypes
from collabkernel.document.operations import document_id
from collabkernel.errors import MalformedFrameError
from collabkernel.limits import COUNTER_MAX, HLC_MAX, ORDER_KEY_BYTES_MAX
from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire import strict

RekeyRow = tuple[OpId, Slot, Rekey]
INLINE_BIT, DELETED_BIT, DEPTH_SHIFT = 1, 2, 2
_HALF: Final = 1 << 63
_SLOTS: Final = {int(slot): slot for slot in Slot}
_new_tuple: Final = tuple.__new__


class Joined(NamedTuple):
    """Seq, site and base of an operation."""

    seq: int
    site: int
    base: int


class TreeRow(NamedTuple):
    """A node and what the tree tells of its block."""

    node: NodeRow
    name: str
    """Of a document; empty for a block."""
    type: tuple[Stamp, str] | None
    """The register of the property ``type``."""
    split: OpId | None = None
    """The rope that its text is a stretch of; None for one of its own."""
    joined: Joined | None = None
    """The operation that split it off or merged it last."""


# -- encoding


class _Sites:
    """Sites by their index, in the order in which they are first asked for."""

    def __init__(self) -> None:
        self.index_by_site: dict[int, int] = {}

    def of(self, site: int) -> int:
        return self.index_by_site.setdefault(site, len(self.index_by_site))


def encode_tree(rows: Sequence[TreeRow], rekeys: Iterable[RekeyRow]) -> bytes:
    """The body of a ``TreeState``; ``rows`` as ``MoveTree.rows`` orders them."""
    state, sites = pb.TreeState(), _Sites()
    nodes = [row.node for row in rows]
    state.names.extend([row.name for row in rows if row.node.parent is None])
    _write_ids(state, nodes, sites)
    _write_places(state, nodes)
    _write_keys(state, nodes)
    state.seqs.extend(_steps([node.seq for node in nodes]))
    state.seq_sites.extend([sites.of(node.site) for node in nodes])
    _write_types(state, rows, sites)
    _write_origins(state, rows, sites)
    for parent, slot, rekey in rekeys:
        id = pb.OpId(site=parent.site, counter=parent.counter)
        state.rekeys.add(
            parent=id,
            slot=pb.Slot.ValueType(slot),
            seq=rekey.seq,
            site=rekey.site,
            old_keys=rekey.old,
            new_keys=rekey.new,
        )
    state.sites.extend(sites.index_by_site)
    return state.SerializeToString()


def _write_origins(state: pb.TreeState, rows: Sequence[TreeRow], sites: _Sites) -> None:
    for i, row in enumerate(rows):
        if row.split is not None:
            state.split_rows.append(i)
            state.split_sites.append(sites.of(row.split.site))
            state.split_counters.append(row.split.counter)
        if row.joined is not None:
            state.joined_rows.append(i)
            state.joined_seqs.append(row.joined.seq)
            state.joined_sites.append(sites.of(row.joined.site))
            state.joined_bases.append(row.joined.base)


def _write_ids(state: pb.TreeState, nodes: Sequence[NodeRow], sites: _Sites) -> None:
    last_by_site: dict[int, int] = {}
    id_sites, id_counters = [], []
    for (site, counter), *_ in nodes:
        id_sites.append(sites.of(site))
        id_counters.append(counter - last_by_site.get(site, 0))
        last_by_site[site] = counter
    state.id_sites.extend(id_sites)
    state.id_counters.extend(id_counters)


def _write_places(state: pb.TreeState, nodes: Sequence[NodeRow]) -> None:
    depth_by_id: dict[OpId, int] = {}
    places, deleted_parents = [], []
    for node in nodes:
        parent = node.parent
        depth = 0 if parent is None or node.is_trashed else depth_by_id[parent] + 1
        if node.is_trashed:
            assert parent is not None, "a document is not deleted"
            deleted_parents.append(parent)
        depth_by_id[node.id] = depth
        places.append(
            depth << DEPTH_SHIFT
            | (DELETED_BIT if node.is_trashed else 0)
            | (INLINE_BIT if node.slot is Slot.INLINE else 0)
        )
    state.places.extend(places)
    if deleted_parents:
        row_by_id = {node.id: i for i, node in enumerate(nodes)}
        state.deleted_from.extend([row_by_id[parent] for parent in deleted_parents])


def _write_keys(state: pb.TreeState, nodes: Sequence[NodeRow]) -> None:
    heads, tails = [], []
    last = ""
    for node in nodes:
        key = node.key
        head = _shared(last, key)
        heads.append(head)
        tails.append(key[head:])
        last = key
    state.key_heads.extend(heads)
    state.key_tails = "\n".join(tails)


def _shared(a: str, b: str) -> int:
    """How many characters two keys begin with alike."""
    count = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        count += 1
    return count


def _write_types(state: pb.TreeState, rows: Sequence[TreeRow], sites: _Sites) -> None:
    index_by_type: dict[str, int] = {}
    types, stamps = [], []
    for row in rows:
        if row.type is None:
            types.append(0)
            continue
        stamp, name = row.type
        types.append(index_by_type.setdefault(name, len(index_by_type) + 1))
        stamps.append(stamp)
    state.types.extend(index_by_type)
    state.row_types.extend(types)
    state.type_hlcs.extend(_steps([stamp.hlc for stamp in stamps]))
    state.type_sites.extend([sites.of(stamp.site) for stamp in stamps])


def _steps(numbers: Iterable[int]) -> Iterator[int]:
    """Each number less the last one, modulo 2**64 as sint64 holds it."""
    last = 0
    for number in numbers:
        yield (number - last + _HALF) % (1 << 64) - _HALF
        last = number


# -- decoding


class DecodedTree(NamedTuple):
    """What ``encode_tree`` wrote, the types of blocks still as columns: most are never looked at."""

    nodes: list[NodeRow]
    rekeys: list[RekeyRow]
    names: list[str]
    """Of the documents, in the order of their rows."""
    types: StoredTypes
    split_by_row: dict[int, OpId]
    joined_by_row: dict[int, Joined]


def decode_tree(data: bytes) -> DecodedTree:
    """The rows and rekeys that ``encode_tree`` gave ``data`` for.

    Columns are checked whole where that can be, since a check of each number takes longer than all else.

    Raises:
        MalformedFrameError: If there are none.
    """
    state = strict.parse(pb.TreeState, data)
    sites = list(state.sites)
    if len(set(sites)) != len(sites):
        raise MalformedFrameError("tree with a doubled site")
    try:
        ids = _read_ids(state, sites)
        nodes = _read_nodes(state, sites, ids)
        names = _read_names(state, nodes)
        types = _read_types(state, sites, len(nodes))
        split_by_row = dict(zip(state.split_rows, _splits(state, sites), strict=True))
        joined_by_row = dict(zip(state.joined_rows, _joined(state, sites), strict=True))
    except (IndexError, ValueError) as error:
        raise MalformedFrameError(f"tree whose columns do not fit each other: {error}") from error
    if max([*split_by_row, *joined_by_row], default=-1) >= len(nodes):
        raise MalformedFrameError("tree with more splits than rows")
    id_set = set(ids) if state.rekeys else set()
    rekeys = [_rekey_of(rekey, id_set) for rekey in state.rekeys]
    return DecodedTree(nodes, rekeys, names, types, split_by_row, joined_by_row)


def _read_ids(state: pb.TreeState, sites: Sequence[int]) -> list[OpId]:
    last_by_index = [0] * len(sites)
    ids = []
    lowest, highest = 1, 1
    for index, step in zip(state.id_sites, state.id_counters, strict=True):
        counter = last_by_index[index] = last_by_index[index] + step
        if counter < lowest:
            lowest = counter
        elif counter > highest:
            highest = counter
        ids.append(_new_tuple(OpId, (sites[index], counter)))
    if lowest < 1 or highest > COUNTER_MAX:
        raise strict.out_of_range("counter", lowest if lowest < 1 else highest)
    if len(set(ids)) != len(ids):
        raise MalformedFrameError("tree with a doubled block")
    return ids


def _read_nodes(state: pb.TreeState, sites: Sequence[int], ids: Sequence[OpId]) -> list[NodeRow]:
    nodes: list[NodeRow] = []
    deleted_from = iter(state.deleted_from)
    way: list[OpId] = []
    tops: list[int] = []
    above_by_top: dict[int, int] = {}
    last_place, parent, slot = 0, None, Slot.CHILD
    seqs = _sums(state.seqs)
    if max(seqs, default=0) > COUNTER_MAX:
        raise strict.out_of_range("seq", max(seqs))
    columns = zip(ids, state.places, _keys(state), seqs, state.seq_sites, strict=True)
    for i, (id, place, key, seq, site_index) in enumerate(columns):
        is_deleted = False
        if place == last_place and place >> DEPTH_SHIFT:  # most rows stand beside the last one
            way[-1] = id
        else:
            last_place = place
            depth, is_deleted = place >> DEPTH_SHIFT, bool(place & DELETED_BIT)
            slot = Slot.INLINE if place & INLINE_BIT else Slot.CHILD
            if depth > len(way) or (depth and is_deleted):
                raise strict.out_of_range("depth", depth)
            if depth == 0:
                tops.append(i)
            parent = way[depth - 1] if depth else None
            if is_deleted:
                above_by_top[i] = row = next(deleted_from, len(ids))
                parent = ids[row]
            del way[depth:]
            way.append(id)
        if parent is None or not (id[0] and key and seq):
            _check_node(id, parent, key, seq)
        nodes.append(_new_tuple(NodeRow, (id, parent, slot, key, seq, sites[site_index], is_deleted)))
    if next(deleted_from, None) is not None:
        raise MalformedFrameError("tree with more parents than deleted blocks")
    _check_tops(above_by_top, tops)
    return nodes


def _keys(state: pb.TreeState) -> list[str]:
    if not state.key_heads:
        return []
    text = state.key_tails
    tails = text.split("\n")
    letters = "".join(tails)
    if letters and not (letters.isascii() and letters.isalnum()):
        raise strict.out_of_range("key", text)
    last = ""
    keys = []
    for head, tail in zip(state.key_heads, tails, strict=True):
        if head > len(last) or (tail and last[head : head + 1] == tail[0]):
            raise strict.out_of_range("key", tail)
        last = last[:head] + tail
        keys.append(last)
    if max(map(len, keys)) > ORDER_KEY_BYTES_MAX:
        raise strict.out_of_range("key", max(keys, key=len))
    return keys


def _sums(steps: Iterable[int]) -> list[int]:
    """What ``_steps`` gave the steps for."""
    sums = list(accumulate(steps))
    if sums and not 0 <= min(sums) <= max(sums) < 1 << 64:
        return [total % (1 << 64) for total in sums]
    return sums


def _check_node(id: OpId, parent: OpId | None, key: str, seq: int) -> None:
    """Refuse a row that is neither a document's nor a block's."""
    if parent is None:
        if key or seq or id.site:
            raise strict.out_of_range("document", id)
    elif not (id.site and seq):
        raise strict.out_of_range("block", id)
    elif not key:
        raise strict.out_of_range("key", key)


def _check_tops(above_by_top: dict[int, int], tops: Sequence[int]) -> None:
    """Refuse blocks that were deleted from below each other: that is no tree."""
    start_by_top: dict[int, int] = {}
    for start in above_by_top:
        at = start
        while at in above_by_top and at not in start_by_top:
            start_by_top[at] = start
            at = tops[bisect_right(tops, above_by_top[at]) - 1]
        if start_by_top.get(at) == start:
            raise MalformedFrameError("tree with a circle of deleted blocks")


def _read_names(state: pb.TreeState, nodes: Sequence[NodeRow]) -> list[str]:
    names = list(state.names)
    roots = [node.id for node in nodes if node[1] is None]
    for root, name in zip(roots, names, strict=True):
        if document_id(name) != root:
            raise strict.out_of_range("name of a document", name)
    return names


def _read_types(state: pb.TreeState, sites: Sequence[int], rows: int) -> StoredTypes:
    types = list(state.types)
    if "" in types or len(set(types)) != len(types):
        raise MalformedFrameError("tree with an empty or doubled type")
    indices = list(state.row_types)
    hlcs = _sums(state.type_hlcs)
    site_indices = list(state.type_sites)
    stamped = len(indices) - indices.count(0)
    if len(indices) != rows or not stamped == len(hlcs) == len(site_indices):
        raise MalformedFrameError("tree with more or fewer types or stamps than rows")
    if max(indices, default=0) > len(types):
        raise strict.out_of_range("type", max(indices))
    if hlcs and not 0 < min(hlcs) <= max(hlcs) <= HLC_MAX:
        raise strict.out_of_range("stamp", min(hlcs))
    if not all(sites[index] for index in set(site_indices)):
        raise strict.out_of_range("site of a stamp", 0)
    return StoredTypes(types, indices, hlcs, [sites[index] for index in site_indices])


def _splits(state: pb.TreeState, sites: Sequence[int]) -> Iterator[OpId]:
    for index, counter in zip(state.split_sites, state.split_counters, strict=True):
        yield OpId(strict.check_site(sites[index]), strict.check_counter(counter))


def _joined(state: pb.TreeState, sites: Sequence[int]) -> Iterator[Joined]:
    columns = zip(state.joined_seqs, state.joined_sites, state.joined_bases, strict=True)
    for seq, index, base in columns:
        yield Joined(strict.check_counter(seq, "seq"), strict.check_site(sites[index]), strict.check_seq(base, "base"))


def _rekey_of(message: pb.RekeyState, ids: set[OpId]) -> RekeyRow:
    parent = strict.container_id(message.parent.site, message.parent.counter)
    slot = _SLOTS.get(message.slot)
    if slot is None or parent not in ids:
        raise strict.out_of_range("parent of a rekey", parent)
    old, new = list(message.old_keys), list(message.new_keys)
    if not old or len(old) != len(new):
        raise strict.out_of_range("keys of a rekey", len(old))
    return parent, slot, Rekey(strict.check_counter(message.seq, "seq"), strict.check_site(message.site), old, new)
