"""A LiveText reads like a str and changes in place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.client.live_text import LiveText
from collabkernel.errors import InvalidValueError
from tests.client.log_world import World
from tests.examples import examples

pytestmark = pytest.mark.core

TEXTS = st.text("aé𝄞 \n", max_size=8)


def text_of(start: str) -> LiveText:
    room = World(1).rooms[0]
    room.root.t = LiveText(start)
    return room.root.t


def test_it_reads_like_a_str():
    text = text_of("Grüße 𝄞!")

    assert text == "Grüße 𝄞!"
    assert str(text) == f"{text}" == "Grüße 𝄞!"
    assert len(text) == 8
    assert text[6] == "𝄞"
    assert text[-2:] == "𝄞!"
    assert text[::-1] == "!𝄞 eßürG"
    assert "üß" in text
    assert text.find("!") == 7
    assert list(text)[:2] == ["G", "r"]
    assert text + "?" == "Grüße 𝄞!?"
    assert "> " + text == "> Grüße 𝄞!"
    assert f"{text:>10}" == "  Grüße 𝄞!"
    assert text
    assert not text_of("")


def test_it_changes_in_place():
    text = text_of("Hello")

    text.append(" world")
    text += "!"
    text.insert(0, ">> ")
    text.replace(3, 8, "Bye")
    text.delete(0, 3)
    text.delete(-1)
    assert text == "Bye world"
    text[0] = "b"
    text[4:] = "all"
    assert text == "bye all"
    del text[3:]
    assert text == "bye"
    text.clear()
    assert text == ""


@examples(50)
@given(TEXTS, st.slices(10), TEXTS)
def test_stretches_are_read_as_slices_read_them(start, at, new):
    text = text_of(start)
    first, last, step = at.indices(len(start))
    if step != 1:
        with pytest.raises(InvalidValueError):
            text[at] = new
        return

    text[at] = new

    assert text == start[:first] + new + start[max(first, last) :]


def test_formats():
    text = text_of("Hello world")

    text.format(0, 5, bold=True)
    text.append("!", italic=True)

    assert text.to_delta() == [
        {"insert": "Hello", "attributes": {"bold": True}},
        {"insert": " world"},
        {"insert": "!", "attributes": {"italic": True}},
    ]
    text.format(0, 5, bold=None)
    assert text.to_delta()[0] == {"insert": "Hello world"}


def test_what_two_type_at_once_is_there_once():
    world = World(2)
    ann, bob = (room.text("t") for room in world.rooms)
    ann.append("shared")
    world.settle()

    ann.insert(0, "ann ")
    bob.append(" bob")
    ann.delete(4, 5)
    world.settle()

    assert str(ann) == str(bob) == "ann hared bob"


def test_only_text_goes_in():
    text = text_of("x")

    with pytest.raises(InvalidValueError, match=r"use str\(value\)"):
        text.insert(0, 5)
    with pytest.raises(IndexError):
        text[5] = "x"
    with pytest.raises(InvalidValueError):
        LiveText(5)


def test_an_index_beyond_the_end_is_the_end():
    text = text_of("abc")

    text.insert(99, "d")
    text.delete(2, 99)

    assert text == "ab"
