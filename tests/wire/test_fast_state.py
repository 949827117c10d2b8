"""The lists of a state read by hand: the strict decoder's answer, or none."""

from __future__ import annotations

import contextlib
import gc
import random

import pytest

from collabkernel.crdt.ids import ROOT, OpId, Stamp
from collabkernel.document.live_tree import ListNode, LiveTree
from collabkernel.document.operations import (
    ContainerKind,
    ListDelete,
    ListInsert,
    ListMove,
    ListSet,
    MapSet,
    NewContainer,
    Op,
)
from collabkernel.errors import MalformedFrameError, RemoteProtocolError
from collabkernel.wire import collab_pb2 as pb
from collabkernel.wire import fast_reader, fast_state, strict
from collabkernel.wire.state import decode_state, encode_state, strictly_read_list
from tests.examples import seeds

HLC = 1_795_000_000_000 << 16
SITE = 3_000_000_000
LIST = OpId(SITE, 1)


def _tree() -> LiveTree:
    """A list that was inserted into, moved about, set and deleted from."""
    rng = random.Random(5)
    tree = LiveTree()
    tree.apply(LIST, Stamp(HLC, SITE), MapSet(ROOT, "list", NewContainer(ContainerKind.LIST)))
    node = tree.node(LIST)
    assert isinstance(node, ListNode)
    values = [NewContainer(ContainerKind.MAP), None, True, -5, 2.5, "text", b"data", "long " * 40]
    for i, value in enumerate(values * 3):
        point = node.items.insertion_point(rng.randint(0, len(node.items)))
        op: Op = ListInsert(LIST, *point, value)
        tree.apply(OpId(SITE, 2 + i), Stamp(HLC + 1 + i, SITE), op)
    for i in range(12):
        element = node.items.element_at(rng.randrange(len(node.items)))
        later: list[Op] = [
            ListDelete(LIST, element),
            ListMove(LIST, element, *node.items.move_point(element, rng.randrange(len(node.items)))),
            ListSet(LIST, element, i),
        ]
        tree.apply(OpId(7, 1 + i), Stamp(HLC + 100 + i, 7), later[i % 3])
    return tree


def _list_container() -> bytes:
    """The bytes of the list's container."""
    parts = fast_state.read_room(encode_state(_tree(), 37, HLC + 200))
    assert (parts.seq, parts.hlc) == (37, HLC + 200)
    return parts.containers[1]


def _kinds() -> dict[OpId, ContainerKind]:
    return {node.id: node.kind for node in _tree().in_order()}


def test_reads_what_the_strict_decoder_reads():
    container, kinds = _list_container(), _kinds()

    by_hand = fast_state.read_list(container, fast_state.contents_at(container), kinds)

    assert repr(by_hand) == repr(strictly_read_list(container, kinds))
    assert len(by_hand[0]) == 28
    assert len(by_hand[1]) == 24


@pytest.mark.heavy
@pytest.mark.parametrize("size", [1, 127, 128, 20_000])
def test_a_block_with_a_text_is_read_by_hand_or_left_to_the_strict_decoder(size: int):
    for id in (OpId(SITE, 9), OpId(7, 2**40), OpId(0, 77)):
        of_text = pb.BlockState(id=pb.OpId(site=id.site, counter=id.counter), yjs_state=b"x" * size)
        body = of_text.SerializeToString()
        if id.site:
            assert fast_state.read_text(body) == (id, b"x" * size)
        for at in range(min(len(body), 24)):
            for byte in range(256):
                spoilt = body[:at] + bytes((byte,)) + body[at + 1 :]
                with contextlib.suppress(*fast_reader.NOT_READ):
                    found = fast_state.read_text(spoilt)
                    read = strict.parse(pb.BlockState, spoilt)
                    assert not read.properties
                    assert found == (strict.container_id(read.id.site, read.id.counter), read.yjs_state)
        of_text.properties.add(key="done")
        for unusual in (of_text.SerializeToString(), body[:-1], body + b"\x00", b""):
            with pytest.raises(fast_reader.NOT_READ):
                fast_state.read_text(unusual)


def test_a_changed_byte_is_never_read_otherwise():
    rng = random.Random(11)
    container, kinds = _list_container(), _kinds()
    read_count = 0
    for _ in range(3000):
        data = bytearray(container)
        data[rng.randrange(len(data))] = rng.choice((0, 1, 2, 8, 0x10, 0x12, 0x80, 0xFF, rng.randrange(256)))
        changed = bytes(data)
        with contextlib.suppress(*fast_reader.NOT_READ):
            at = fast_state.contents_at(changed)
            by_hand = fast_state.read_list(changed, at, kinds)
            try:
                strict = strictly_read_list(changed, kinds)
            except MalformedFrameError:
                # What stands before the list is not read here; ``decode_state`` reads it strictly.
                assert changed[:at] != container[:at]
                continue
            assert repr(by_hand) == repr(strict)
            read_count += 1
    assert read_count > 100


@pytest.mark.parametrize("seed", seeds(range(20)))
def test_a_mutated_state_is_decoded_or_refused(seed: int):
    rng = random.Random(seed)
    state = encode_state(_tree(), 37, HLC + 200)
    for _ in range(20):
        data = bytearray(state)
        for _ in range(rng.choice((1, 1, 3))):
            place = rng.randrange(len(data))
            match rng.randrange(3):
                case 0:
                    data[place] ^= 1 << rng.randrange(8)
                case 1:
                    del data[place:]
                    data += b"\x00" * (not data)
                case _:
                    data[place:place] = bytes([rng.randrange(256)])
        with contextlib.suppress(RemoteProtocolError):
            tree, seq, hlc = decode_state(bytes(data), None)
            again, _, _ = decode_state(encode_state(tree, seq, hlc), None)
            assert again.to_json() == tree.to_json()


def test_the_collector_runs_again_afterwards():
    assert gc.isenabled()
    with pytest.raises(RemoteProtocolError):
        decode_state(b"\xff", None)

    assert gc.isenabled()
