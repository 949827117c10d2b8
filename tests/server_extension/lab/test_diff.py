"""Changes and edits: right for any two sequences, small for texts that people change."""

from __future__ import annotations

import pytest
from collabkernel_server.lab.diff import Edit, apply_edits, changes, similarity, text_edits
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.core

texts = st.text(alphabet="ab \né😀\r", max_size=40)


@given(st.lists(st.integers(0, 4), max_size=30), st.lists(st.integers(0, 4), max_size=30), st.booleans())
def test_changes_make_one_of_the_other(a, b, anchored):
    made, at = [], 0
    for start, end, other_start, other_end in changes(a, b, anchored=anchored):
        assert start > at or not made or start == at == 0
        made += a[at:start] + b[other_start:other_end]
        at = end

    assert made + a[at:] == b


@given(st.lists(st.integers(0, 9), max_size=30), st.lists(st.integers(0, 9), max_size=30))
def test_nothing_that_is_between_two_changes_differs(a, b):
    at = other_at = 0
    for start, end, other_start, other_end in changes(a, b):
        assert a[at:start] == b[other_at:other_start]
        at, other_at = end, other_end


@given(texts, texts)
def test_edits_make_one_text_of_the_other(old, new):
    assert apply_edits(old, text_edits(old, new)) == new


def test_an_edit_touches_only_the_characters_that_differ():
    old = "def f(x):\n    return x + 1\n\nprint(f(2))\n"

    assert text_edits(old, old.replace("x + 1", "x + 10")) == [Edit(26, 26, "0")]


def test_a_line_that_was_moved_leaves_the_others_alone():
    assert text_edits("one\ntwo\nthree\n", "three\none\ntwo\n") == [Edit(0, 0, "three\n"), Edit(8, 14, "")]


def test_texts_with_nothing_in_common_end_in_bounded_time():
    old, new = "\n".join(f"a{i % 7}" for i in range(5000)), "\n".join(f"b{i % 5}" for i in range(5000))

    assert apply_edits(old, text_edits(old, new)) == new


def test_similarity_is_the_share_of_common_ends():
    assert similarity("", "") == 1.0
    assert similarity("abcd", "abxd") == 0.75
    assert similarity("abc", "xyz") == 0.0
