"""A room's state to bytes and back: the same tree, the same bytes, and nothing odd gets in."""

from __future__ import annotations

import random

import pytest

from collabkernel.crdt.ids import ROOT, OpId, Stamp
from collabkernel.crdt.text import TextRope
from collabkernel.document.live_tree import LiveTree
from collabkernel.document.operations import (
    ContainerKind,
    ListDelete,
    ListInsert,
    ListMove,
    ListSet,
    MapDelete,
    MapSet,
    NewContainer,
    Op,
    Side,
    TextEdit,
)
from collabkernel.errors import MalformedFrameError, RemoteProtocolError
from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire.state import decode_state, encode_state

HLC = 1_795_000_000_000 << 16
LIST, TEXT, MAP = OpId(7, 1), OpId(7, 2), OpId(7, 3)


def _fold(ops: list[tuple[int, Op]], client_id: int = 0) -> LiveTree:
    """Apply (site, op) with counters from 1 a site and rising stamps."""
    tree = LiveTree(client_id)
    counters: dict[int, int] = {}
    for i, (site, op) in enumerate(ops):
        counters[site] = counters.get(site, 0) + 1
        tree.apply(OpId(site, counters[site]), Stamp(HLC + i, site), op)
    return tree


def _everything() -> LiveTree:
    rope = TextRope(9)
    return _fold(
        [
            (7, MapSet(ROOT, "list", NewContainer(ContainerKind.LIST))),
            (7, MapSet(ROOT, "text", NewContainer(ContainerKind.TEXT))),
            (7, MapSet(ROOT, "map", NewContainer(ContainerKind.MAP, shared=False))),
            (7, ListInsert(LIST, None, Side.RIGHT, "first")),
            (7, ListInsert(LIST, OpId(7, 4), Side.RIGHT, None)),
            (7, ListInsert(LIST, OpId(7, 5), Side.LEFT, NewContainer(ContainerKind.OBJECT))),
            (7, ListInsert(LIST, OpId(7, 4), Side.RIGHT, 2.5)),
            (8, ListMove(LIST, OpId(7, 4), OpId(7, 5), Side.RIGHT)),
            (8, ListSet(LIST, OpId(7, 5), NewContainer(ContainerKind.LIST))),
            (8, ListDelete(LIST, OpId(7, 7))),
            (8, MapSet(MAP, "", -(2**63))),
            (8, MapSet(MAP, "gone", b"\x00\xff")),
            (8, MapDelete(MAP, "gone")),
            (8, MapSet(MAP, "never seen", True)),
            (8, MapSet(ROOT, "board", NewContainer(ContainerKind.OBJECT, shared=True))),
            (8, MapSet(ROOT, "board", NewContainer(ContainerKind.MAP, shared=True, after=Stamp(HLC + 14, 8)))),
            (8, MapSet(MAP, "Ü", "text")),
            (9, TextEdit(TEXT, rope.insert(0, "Grüße"))),
            (9, TextEdit(TEXT, rope.delete(0, 2))),
        ]
    )


def test_empty_room():
    tree, seq, hlc = decode_state(encode_state(LiveTree(), 0, 0), None)

    assert tree.to_json() == {}
    assert (seq, hlc) == (0, 0)
    assert encode_state(tree, 0, 0).hex() == "1a040a001001"


def test_everything_comes_back():
    tree = _everything()
    data = encode_state(tree, 19, HLC + 18)

    again, seq, hlc = decode_state(data, None)

    assert again.to_json() == tree.to_json()
    assert (seq, hlc) == (19, HLC + 18)
    assert {id: (node.kind, node.home, node.depth) for id, node in again.nodes.items()} == {
        id: (node.kind, node.home, node.depth) for id, node in tree.nodes.items()
    }
    assert encode_state(again, 19, HLC + 18) == data


def test_encoded_state_is_what_protobuf_writes():
    data = encode_state(_everything(), 19, HLC + 18)

    assert pb.RoomState.FromString(data).SerializeToString() == data


def test_size_is_counted_as_the_fold_counts_it():
    rope = TextRope(9)
    ops: list[tuple[int, Op]] = [
        (7, MapSet(ROOT, "list", NewContainer(ContainerKind.LIST))),
        (7, ListInsert(LIST, None, Side.RIGHT, "first")),
        (7, ListInsert(LIST, None, Side.RIGHT, "second")),
        (7, ListMove(LIST, OpId(7, 2), OpId(7, 3), Side.RIGHT)),
        (7, ListSet(LIST, OpId(7, 2), "a longer one")),
        (7, ListDelete(LIST, OpId(7, 3))),
        (7, MapSet(ROOT, "key", "value")),
        (7, MapSet(ROOT, "key", b"other")),
        (7, MapDelete(ROOT, "key")),
        (7, MapSet(ROOT, "text", NewContainer(ContainerKind.TEXT))),
    ]
    tree = _fold([*ops, (9, TextEdit(OpId(7, 10), rope.insert(0, "one update is its own state")))])

    assert decode_state(encode_state(tree, 1, 1), None)[0].size_bytes == tree.size_bytes


def test_decoded_tree_goes_on_as_the_first():
    later: list[Op] = [
        ListInsert(LIST, OpId(7, 5), Side.LEFT, "between"),
        ListMove(LIST, OpId(7, 5), None, Side.RIGHT),
        ListSet(LIST, OpId(7, 4), 1),
        MapSet(MAP, "gone", "back"),
    ]
    first = _everything()
    second, _, _ = decode_state(encode_state(first, 0, 0), None)

    for tree in (first, second):
        for i, op in enumerate(later):
            tree.apply(OpId(10, i + 1), Stamp(HLC + 100 + i, 10), op)

    assert encode_state(first, 1, 1) == encode_state(second, 1, 1)
    assert second.to_json() == first.to_json()


def test_text_can_be_edited_on():
    tree, _, _ = decode_state(encode_state(_everything(), 19, HLC), 12)
    node = tree.nodes[TEXT]

    assert tree.client_id == 12
    assert node.kind is ContainerKind.TEXT
    assert node.rope.text == "üße"  # type: ignore[union-attr]  # a text has a rope
    node.rope.insert(3, "!")  # type: ignore[union-attr]  # a text has a rope
    assert tree.to_json()["text"] == "üße!"


def test_order_of_arrival_leaves_no_trace():
    ops: list[tuple[OpId, Op]] = [
        (OpId(3, 1), MapSet(ROOT, "b", NewContainer(ContainerKind.LIST))),
        (OpId(9, 1), MapSet(ROOT, "a", NewContainer(ContainerKind.MAP))),
        (OpId(4, 7), MapSet(ROOT, "c", NewContainer(ContainerKind.MAP))),
        (OpId(2, 5), MapSet(ROOT, "b", 5)),
        (OpId(5, 5), MapDelete(ROOT, "z")),
    ]
    states = set()
    for seed in range(10):
        tree = LiveTree()
        shuffled = random.Random(seed).sample(ops, len(ops))
        for op_id, op in shuffled:
            tree.apply(op_id, Stamp(HLC + op_id.counter, op_id.site), op)
        states.add(encode_state(tree, 5, HLC + 7))

    assert len(states) == 1


@pytest.mark.parametrize("place", range(0, 900, 7))
def test_a_changed_byte_is_decoded_or_refused(place: int):
    data = bytearray(encode_state(_everything(), 19, HLC + 18))
    data[place % len(data)] ^= 1 + place % 255

    try:
        tree, seq, hlc = decode_state(bytes(data), None)
    except RemoteProtocolError:
        return
    again = encode_state(tree, seq, hlc)
    assert decode_state(again, None)[0].to_json() == tree.to_json()


def test_every_prefix_is_refused():
    data = encode_state(_everything(), 19, HLC + 18)

    for size in range(0, len(data), 5):
        with pytest.raises(RemoteProtocolError):
            decode_state(data[:size], None)


def _container(**members: object) -> pb.ContainerState:
    return pb.ContainerState(**members)  # type: ignore[arg-type]  # any of its fields


ROOT_STATE = _container(id=pb.OpId(), kind=pb.OBJECT)
HOME = {"home": pb.OpId(), "home_key": "k"}
ID = pb.OpId(site=1, counter=1)
ONE = pb.Register(hlc=1, site=1, value=pb.StoredValue(integer=1))
SLOT = pb.SlotState(id=ID, side=pb.RIGHT)
ELEMENT = pb.ElementState(id=ID, value=ONE, position_hlc=1, position_site=1, slot=ID)


def _list_state(**members: object) -> list[pb.ContainerState]:
    return [ROOT_STATE, _container(id=pb.OpId(site=5, counter=5), kind=pb.LIST, **HOME, **members)]


@pytest.mark.parametrize(
    "containers",
    [
        pytest.param([], id="no root"),
        pytest.param([_container(id=pb.OpId(), kind=pb.MAP)], id="root that is a map"),
        pytest.param([ROOT_STATE, ROOT_STATE], id="two roots"),
        pytest.param([ROOT_STATE, _container(id=ID, kind=pb.MAP)], id="no home"),
        pytest.param([ROOT_STATE, _container(id=ID, **HOME)], id="no kind"),
        pytest.param([ROOT_STATE, _container(id=ID, kind=9, **HOME)], id="unknown kind"),
        pytest.param([ROOT_STATE, _container(id=ID, kind=pb.MAP, home=ID)], id="its own home"),
        pytest.param(
            [ROOT_STATE, _container(id=ID, kind=pb.MAP, home=pb.OpId(), home_element=ID)], id="root as a list"
        ),
        pytest.param([ROOT_STATE, _container(id=ID, kind=pb.MAP, slots=[SLOT], **HOME)], id="map with slots"),
        pytest.param([ROOT_STATE, _container(id=ID, kind=pb.TEXT, **HOME)], id="text without state"),
        pytest.param([ROOT_STATE, _container(id=ID, kind=pb.TEXT, yjs_state=b"\x01", **HOME)], id="text of no Yjs"),
        pytest.param(_list_state(entries=[pb.MapEntry(key="k", register=ONE)]), id="list with keys"),
        pytest.param(_list_state(slots=[SLOT, SLOT]), id="doubled slot"),
        pytest.param(_list_state(slots=[pb.SlotState(id=ID)]), id="slot without side"),
        pytest.param(_list_state(slots=[pb.SlotState(id=ID, side=pb.LEFT, parent=ID)] * 2), id="doubled, own parent"),
        pytest.param(
            _list_state(slots=[pb.SlotState(id=ID, side=pb.LEFT, parent=pb.OpId(site=2, counter=2))]), id="no parent"
        ),
        pytest.param(_list_state(elements=[ELEMENT]), id="element without slot"),
        pytest.param(_list_state(slots=[SLOT], elements=[ELEMENT, ELEMENT]), id="doubled element"),
        pytest.param(_list_state(slots=[SLOT], elements=[pb.ElementState(id=ID)]), id="element of nothing"),
        pytest.param(
            _list_state(slots=[SLOT], elements=[pb.ElementState(id=ID, value=ONE, deleted=True)]), id="deleted, alive"
        ),
        pytest.param([_container(id=pb.OpId(), kind=pb.OBJECT, entries=[pb.MapEntry(key="k")])], id="no register"),
        pytest.param(
            [_container(id=pb.OpId(), kind=pb.OBJECT, entries=[pb.MapEntry(key=k, register=ONE) for k in "ba"])],
            id="keys out of order",
        ),
        pytest.param(
            [
                _container(
                    id=pb.OpId(),
                    kind=pb.OBJECT,
                    entries=[pb.MapEntry(register=pb.Register(hlc=1, site=1, value=pb.StoredValue(container=ID)))],
                )
            ],
            id="container that is not there",
        ),
    ],
)
def test_what_does_not_hang_together_is_refused(containers: list[pb.ContainerState]):
    data = pb.RoomState(seq=1, hlc=1, containers=containers).SerializeToString()

    with pytest.raises(RemoteProtocolError):
        decode_state(data, None)


def test_unknown_field_is_refused():
    data = encode_state(LiveTree(), 0, 0)

    with pytest.raises(MalformedFrameError):
        decode_state(data + b"\x20\x01", None)
