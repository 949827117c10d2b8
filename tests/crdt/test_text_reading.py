"""What was read of a text stays right while changes are told, whatever they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.text import TextRope
from collabkernel.crdt.text_delta import EMBED_UNIT, Delta
from collabkernel.crdt.text_reading import Embeds, Reading
from collabkernel.crdt.yjs.markers import marker
from collabkernel.crdt.yjs.policy import ROPE_POLICY
from tests.examples import examples

pytestmark = pytest.mark.core

X, Y, Z = {"n": 1}, {"n": 2}, {"n": 3}


def reading(units: str, *embeds: tuple[int, Any]) -> Reading:
    made = Reading(units)
    made.embeds = Embeds([at for at, _ in embeds], [value for _, value in embeds])
    return made


@pytest.mark.parametrize(
    ("delta", "units", "places", "values"),
    [
        ([{"retain": 1}, {"insert": "bc"}], f"abc{EMBED_UNIT}d{EMBED_UNIT}", [3, 5], [X, Y]),
        ([{"retain": 2}, {"insert": "e"}], f"a{EMBED_UNIT}ed{EMBED_UNIT}", [1, 4], [X, Y]),
        ([{"delete": 1}, {"retain": 1}, {"delete": 1}], EMBED_UNIT * 2, [0, 1], [X, Y]),
        ([{"retain": 1}, {"insert": Z}], f"a{EMBED_UNIT * 2}d{EMBED_UNIT}", [1, 2, 4], [Z, X, Y]),
        ([{"delete": 3}, {"insert": "ä"}], f"ä{EMBED_UNIT}", [1], [Y]),
        ([{"retain": 4, "attributes": {"b": True}}], f"a{EMBED_UNIT}d{EMBED_UNIT}", [1, 3], [X, Y]),
        ([], f"a{EMBED_UNIT}d{EMBED_UNIT}", [1, 3], [X, Y]),
    ],
)
def test_it_follows_a_change(delta: Delta, units: str, places: list[int], values: list[Any]):
    read = reading(f"a{EMBED_UNIT}d{EMBED_UNIT}", (1, X), (3, Y))
    assert read.embeds is not None
    before = read.embeds.values

    read.follow(delta)

    assert read.units == units
    assert read.embeds == Embeds(places, values)
    assert (read.embeds.values is before) == (values == before), "the same list as long as none comes or goes"


def test_what_was_not_read_is_not_followed():
    read = Reading()

    read.follow([{"insert": "a"}])

    assert read.units is read.embeds is None


edits = st.tuples(
    st.sampled_from(("type", "type", "delete", "mark", "format", "undo", "unheard")),
    st.booleans(),
    st.integers(0, 1000),
    st.integers(0, 4),
    st.text("ab😀ä", max_size=4),
)


@given(st.lists(edits, max_size=30))
@examples(100)
def test_a_text_that_follows_reads_as_one_that_walks(history: list[tuple[str, bool, int, int, str]]):
    """Two who edit without waiting for each other; each time all is held against a copy that is read anew."""
    ropes = TextRope(1, policy=ROPE_POLICY), TextRope(2, policy=ROPE_POLICY)
    late: tuple[list[bytes], list[bytes]] = ([], [])
    for i, (kind, is_bob, at, length, text) in enumerate(history):
        here, there = ropes[is_bob], ropes[not is_bob]
        if update := _edit(here, kind, i, at, length, text):
            late[not is_bob].append(update)
        if at % 3 == 0:
            for arrived in late[is_bob]:
                take = here.apply if kind == "unheard" else here.apply_with_delta
                take(arrived, there.client_id)
            late[is_bob].clear()
        copy = TextRope.from_state(here.encode_state(), 9, policy=ROPE_POLICY)
        assert (here.text, here.embeds(), len(here)) == (copy.text, copy.embeds(), len(copy))


def _edit(rope: TextRope, kind: str, i: int, at: int, length: int, text: str) -> bytes:
    start = at % (len(rope) + 1)
    # No marker is deleted.
    end = min([start + length, len(rope), *[place for place in rope.embeds().places if place >= start]])
    match kind:
        case "type":
            return rope.splice(start, end - start, text)
        case "delete":
            return rope.delete(start, end - start)
        case "mark":
            return rope.embed(start, marker("block", OpId(rope.client_id, 10 + i)))
        case "format":
            return rope.format(start, end, {"bold": True})
        case "undo" if (step := rope.take_step()) is not None:
            return rope.undo(step).update
    return b""
