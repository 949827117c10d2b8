"""Structs: read, cut and written as Yjs does it, and brought into causal order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text

from collabkernel.crdt.yjs.policy import STRING, policy_of_roots
from collabkernel.crdt.yjs.structs import (
    NOTHING,
    Struct,
    in_causal_order,
    read_update,
    without_start,
    write_update,
)
from collabkernel.errors import InvalidYjsUpdateError

POLICY = policy_of_roots({"list": 0, "map": 1, "text": 2})


def written(*edits: Callable[[Doc[Any]], object]) -> Doc[Any]:
    doc: Doc[Any] = Doc(client_id=7)
    for name, kind in (("list", Array), ("map", Map), ("text", Text)):
        doc.get(name, type=kind)
    for edit in edits:
        edit(doc)
    return doc


DOCS = {
    "text": written(lambda doc: doc["text"].insert(0, "abc\U0001f600def")),
    "values": written(lambda doc: doc["list"].extend([1.0, "x", [None, True], {"a": b"z"}])),
    "deleted text": written(lambda doc: doc["text"].insert(0, "abcdef"), lambda doc: doc["text"].clear()),
    "collected": written(
        lambda doc: doc["list"].append(Array([1.0, 2.0, Text("inside")])), lambda doc: doc["list"].clear()
    ),
}


@pytest.mark.parametrize("name", DOCS)
def test_what_is_read_is_written_again(name: str):
    state = DOCS[name].get_update()

    parsed = read_update(state, POLICY, None)

    assert write_update(state, parsed.structs.values(), parsed.deletes) == state


@pytest.mark.parametrize("name", DOCS)
def test_a_cut_struct_is_what_yrs_makes_of_it(name: str):
    state = DOCS[name].get_update()
    parsed = read_update(state, POLICY, None)
    (structs,) = parsed.structs.values()

    for index, struct in enumerate(structs):
        for clocks in range(1, struct.length):
            if (7, struct.clock + clocks) in parsed.contents.lows:
                continue
            cut = [without_start(struct, clocks), *structs[index + 1 :]]
            ours = write_update(state, [cut], parsed.deletes)
            assert ours == DOCS[name].get_update(b"\x01\x07" + bytes([struct.clock + clocks]))


def test_what_has_no_middle_is_not_cut():
    with pytest.raises(InvalidYjsUpdateError, match="Embed struct cannot be cut"):
        without_start(Struct(1, 0, 2, 5), 1)


def test_an_update_may_bring_nothing():
    parsed = read_update(NOTHING, POLICY, 1)

    assert (parsed.structs, parsed.deletes) == ({}, {})
    assert write_update(NOTHING, [], {}) == NOTHING


@pytest.mark.parametrize(
    ("hex_", "reason"),
    [
        ("0000ff", "1 bytes behind"),
        ("01000100", "without structs"),
        ("0101010000000000", "no length"),
        ("02010100000100010100000100" + "00", "comes twice"),
        ("0101010004020474657874016100", "a parent is 0"),
        ("000201010001010100" + "01", "deletes of client 1 come twice"),
        ("00010100", "come without ranges"),
        ("0001010101feffffff0f", "the last is"),
        ("00010103000100010001", "3 delete ranges"),
        ("0103010000010001000100", "3 structs"),
        ("01010100" + "1400", "unknown"),
    ],
)
def test_malformed_updates_are_refused(hex_: str, reason: str):
    with pytest.raises(InvalidYjsUpdateError, match=reason):
        read_update(bytes.fromhex(hex_), POLICY, 2)


@given(st.randoms(use_true_random=False))
def test_causal_order_puts_each_behind_those_that_it_names(rng: Any):
    structs: dict[int, list[Struct]] = {}
    ids: list[tuple[int, int]] = []
    for _ in range(30):
        client = rng.randrange(5)
        queue = structs.setdefault(client, [])
        names = [rng.choice(ids) if ids and rng.random() < 0.6 else None for _ in range(3)]
        queue.append(Struct(client, len(queue), 1, STRING, names[0], names[1], names[2]))
        ids.append((client, len(queue) - 1))
    clients = list(structs)
    rng.shuffle(clients)

    seen: set[tuple[int, int]] = set()
    for struct in in_causal_order({client: structs[client] for client in clients}, {}):
        assert {struct.origin, struct.right, struct.parent} - {None} <= seen
        assert struct.clock == 0 or (struct.client, struct.clock - 1) in seen
        seen.add((struct.client, struct.clock))
    assert len(seen) == 30


def test_structs_that_wait_for_one_another_are_refused():
    one, two = Struct(1, 0, 1, STRING, (2, 0)), Struct(2, 0, 1, STRING, (1, 0))

    with pytest.raises(InvalidYjsUpdateError, match="wait for one another"):
        list(in_causal_order({1: [one], 2: [two]}, {}))
