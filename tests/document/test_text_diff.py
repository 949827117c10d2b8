"""How one text became another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.crdt.text_delta import Delta
from collabkernel.document.text_diff import WORDS_MAX, format_diff, text_diff

pytestmark = pytest.mark.core


def applied(text: str, delta: Delta) -> str:
    made, at = "", 0
    for part in delta:
        if "retain" in part:
            made += text[at : at + part["retain"]]
            at += part["retain"]
        elif "delete" in part:
            at += part["delete"]
        else:
            made += part["insert"]
    return made + text[at:]


@given(st.text("ab \n\U0001f600"), st.text("ab \n\U0001f600"))
def test_the_delta_makes_one_of_the_other(old: str, new: str) -> None:
    delta = text_diff(old, new)
    assert applied(old, delta) == new
    assert (delta == []) == (old == new)


def test_words_are_replaced_whole() -> None:
    assert text_diff("the old house", "the new house") == [{"retain": 4}, {"insert": "new"}, {"delete": 3}]
    assert text_diff("one two, three", "one, three") == [{"retain": 3}, {"delete": 4}]


def test_long_texts_are_one_replacement() -> None:
    old, new = "a b " * WORDS_MAX, "b a " * WORDS_MAX
    delta = text_diff(old, new)
    assert len(delta) <= 3
    assert applied(old, delta) == new


def test_formats_are_told_by_range() -> None:
    old: Delta = [{"insert": "ab", "attributes": {"bold": True}}, {"insert": "cd"}]
    new: Delta = [{"insert": "a"}, {"insert": "bcd", "attributes": {"bold": True, "link": "x"}}]
    assert format_diff(old, new) == [
        (0, 1, {"bold": None}),
        (1, 2, {"link": "x"}),
        (2, 4, {"bold": True, "link": "x"}),
    ]
    assert format_diff(old, old) == []
