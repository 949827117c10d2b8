"""Taking back what commits changed, at the cost of what they brought."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.text import TextRope
from collabkernel.crdt.yjs.update import YjsState
from collabkernel.errors import InvalidYjsUpdateError
from tests.examples import examples

pytestmark = pytest.mark.core


def facts(state: YjsState) -> tuple[object, ...]:
    """All that a state decides by."""
    pairs = [(client, clock) for client, end in state.clocks.items() for clock in range(end)]
    splits = [pair for pair in pairs if state.splits_pair(*pair)]
    return dict(state.clocks), set(state.format_keys), splits, state.order.to_list()


def take(state: YjsState, update: bytes, client: int) -> None:
    state.commit(state.check(update, client))


def some_edit(rope: TextRope, rng: random.Random) -> bytes:
    start = rng.randint(0, len(rope))
    if rng.random() < 0.3 and len(rope) > start:
        return rope.format(start, len(rope), {rng.choice("abc"): True})
    return rope.splice(start, min(rng.randint(0, 2), len(rope) - start), rng.choice(("x", "hello", "😀y")))


@examples(40)
@given(rng=st.randoms(use_true_random=False), is_stored=st.booleans(), count=st.integers(0, 6))
def test_a_rewind_leaves_no_trace_and_a_release_all(rng: random.Random, is_stored: bool, count: int) -> None:
    ann, bob = TextRope(1), TextRope(2)
    for _ in range(5):
        bob.apply(some_edit(ann, rng) or ann.insert(0, "-"), 1)
        ann.apply(some_edit(bob, rng) or bob.insert(0, "-"), 2)
    states = []
    for _ in range(2):
        state = YjsState()
        state.commit(state.check(ann.encode_state(), None))
        states.append(state)
    held, plain = states
    if is_stored:
        assert facts(held) == facts(plain)  # the order is made out before, and else while it is held
    edits = [edit for edit in [some_edit(bob, rng) for _ in range(count)] if edit]

    held.hold()
    for edit in edits:
        take(held, edit, 2)
    with pytest.raises(InvalidYjsUpdateError):
        held.check(b"\x00\x00", 2)
    held.rewind()
    assert facts(held) == facts(plain)

    held.hold()
    for edit in edits:
        take(held, edit, 2)
        take(plain, edit, 2)
    held.release()
    assert facts(held) == facts(plain)
