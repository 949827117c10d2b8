"""Deltas in code points."""

from __future__ import annotations

import pytest

from collabkernel.crdt.text_delta import insertion, shifted, splice_delta, to_delta


@pytest.mark.parametrize(
    ("before", "parts", "delta"),
    [
        ("abc", [{"retain": 1}, {"delete": 2}], [{"retain": 1}, {"delete": 2}]),
        ("ä😀b", [{"retain": 2}, {"delete": 4}, {"retain": 1}], [{"retain": 1}, {"delete": 1}, {"retain": 1}]),
        (
            "é",
            [{"insert": "漢"}, {"retain": 2, "attributes": {"n": 2.0}}],
            [{"insert": "漢"}, {"retain": 1, "attributes": {"n": 2}}],
        ),
        ("\0é", [{"retain": 1}, {"delete": 2}], [{"retain": 1}, {"delete": 1}]),
        ("", [], []),
    ],
)
def test_bytes_become_code_points(before: str, parts: list, delta: list):
    assert to_delta(parts, before) == delta


def test_whole_numbers_become_ints():
    embed = {"a": [1.0, 2.5, {"b": 3.0}], "c": True}

    assert insertion(embed, {"n": 1.0}) == {"insert": {"a": [1, 2.5, {"b": 3}], "c": True}, "attributes": {"n": 1}}
    assert insertion("x", None) == {"insert": "x"}


def test_splice_delta_speaks_quill():
    assert splice_delta(2, 3, "ab", {"bold": True}) == [
        {"retain": 2},
        {"insert": "ab", "attributes": {"bold": True}},
        {"delete": 3},
    ]
    assert splice_delta(0, 0, "a", None) == [{"insert": "a"}]


def test_a_change_further_behind():
    typed = {"insert": "a"}
    bold = {"retain": 1, "attributes": {"bold": True}}

    assert shifted([typed], 0) == [typed]
    assert shifted([typed], 3) == [{"retain": 3}, typed]
    assert shifted([{"retain": 2}, typed], 3) == [{"retain": 5}, typed]
    assert shifted([bold], 3) == [{"retain": 3}, bold]
