"""The order of items: yrs' own, and only neighbours are let in between."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Text

from collabkernel.crdt.yjs.order import YjsOrder
from collabkernel.crdt.yjs.parse import write_uint
from collabkernel.errors import InvalidYjsUpdateError
from tests.examples import examples

Reference = tuple[int, int]
Insert = tuple[int, int, Reference | None, Reference | None, str]
"""Client, clock, origin, right origin, text."""


def order_of(*inserts: tuple[int, int, int, Reference | None, Reference | None]) -> YjsOrder:
    order = YjsOrder()
    for insert in inserts:
        order.insert(*insert)
        order.commit()
    return order


def encode(insert: Insert) -> bytes:
    client, clock, origin, right, text = insert
    info = 4 | (0x80 if origin else 0) | (0x40 if right else 0)
    out = b"\x01\x01" + write_uint(client) + write_uint(clock) + bytes([info])
    for reference in (origin, right):
        if reference:
            out += write_uint(reference[0]) + write_uint(reference[1])
    if not origin and not right:
        out += b"\x01\x04text"
    raw = text.encode()
    return out + write_uint(len(raw)) + raw + b"\x00"


def shuffled_text(rng: random.Random, inserts: list[Insert]) -> str:
    """What yrs makes of inserts in some order that only keeps each behind those that it names."""
    doc: Doc[Text] = Doc()
    text = doc.get("text", type=Text)
    ends: dict[int, int] = {}
    waiting = list(inserts)
    while waiting:
        ready = [
            insert
            for insert in waiting
            if insert[1] == ends.get(insert[0], 0)
            and all(name is None or name[1] < ends.get(name[0], 0) for name in insert[2:4])
        ]
        chosen = rng.choice(ready)
        waiting.remove(chosen)
        doc.apply_update(encode(chosen))
        ends[chosen[0]] = chosen[1] + len(chosen[4])
    return str(text)


@examples(60)
@given(rng=st.randoms(use_true_random=False))
def test_whatever_is_let_in_converges_and_stands_where_yrs_puts_it(rng: random.Random):
    order = YjsOrder()
    inserts: list[Insert] = []
    chars: dict[Reference, str] = {}
    ends = {1: 0, 2: 0, 3: 0}
    for _ in range(40):
        client = rng.choice((1, 2, 3))
        origin, right = rng.choice([None, *chars]), rng.choice([None, *chars])
        text = "".join(chr(0x100 + len(chars) + offset) for offset in range(rng.randint(1, 3)))
        try:
            order.insert(client, ends[client], len(text), origin, right)
        except InvalidYjsUpdateError:
            order.rollback()
            continue
        order.commit()
        inserts.append((client, ends[client], origin, right, text))
        for offset, char in enumerate(text):
            chars[client, ends[client] + offset] = char
        ends[client] += len(text)

    ours = "".join(
        chars[client, start + offset] for client, start, length in order.to_list() for offset in range(length)
    )

    assert {shuffled_text(rng, inserts) for _ in range(6)} == {ours}


@pytest.mark.parametrize(
    ("origin", "right"),
    [((1, 4), (1, 1)), ((1, 1), (1, 1)), ((1, 0), (1, 3)), (None, (1, 1)), ((2, 0), (1, 4)), ((1, 1), (1, 3))],
)
def test_strangers_are_refused(origin: Reference | None, right: Reference | None):
    order = order_of((1, 0, 5, None, None), (2, 0, 1, (1, 1), (1, 2)))

    with pytest.raises(InvalidYjsUpdateError, match="neighbours"):
        order.insert(3, 0, 1, origin, right)


@pytest.mark.parametrize(
    ("origin", "right"),
    [(None, None), (None, (1, 0)), ((1, 4), None), ((1, 1), (1, 2)), ((1, 1), (2, 0)), ((2, 0), (1, 2))],
)
def test_neighbours_of_any_time_are_let_in(origin: Reference | None, right: Reference | None):
    order = order_of((1, 0, 5, None, None), (2, 0, 1, (1, 1), (1, 2)))

    order.insert(3, 0, 1, origin, right)


def test_concurrent_inserts_in_one_place_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("collabkernel.crdt.yjs.order.CONCURRENT_MAX", 20)
    order = order_of(*((client, 0, 1, None, None) for client in range(1, 22)))

    with pytest.raises(InvalidYjsUpdateError, match="concurrent inserts in one place"):
        order.insert(99, 0, 1, None, None)


def test_typing_on_makes_no_new_piece():
    order = order_of((1, 0, 2, None, None), (2, 0, 1, (1, 0), (1, 1)), (2, 1, 1, (2, 0), (1, 1)))

    assert order.to_list() == [(1, 0, 1), (2, 0, 2), (1, 1, 1)]


def test_rollback_leaves_no_trace_of_inserts_and_cuts():
    order = order_of((1, 0, 9, None, None), (2, 0, 3, (1, 3), (1, 4)))
    before = order.to_list()

    order.insert(2, 3, 1, (2, 2), (1, 4))
    order.insert(2, 4, 3, (1, 6), (1, 7))
    order.insert(2, 7, 1, (2, 5), (2, 6))
    with pytest.raises(InvalidYjsUpdateError):
        order.insert(2, 8, 1, (1, 8), (1, 1))
    order.rollback()
    order.insert(3, 0, 1, (1, 8), None)
    order.rollback()

    assert order.to_list() == before
