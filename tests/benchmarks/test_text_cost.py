"""The texts' cost benchmark gives every figure."""

from __future__ import annotations

from tests.benchmarks.text_cost import TEXT, edit_rows, encode_rows, make_document


def test_every_time_is_measured():
    found = [*encode_rows(1, 3), *edit_rows(1, 5)]

    assert [row["name"].split("/")[1] for row in found] == ["encode", "encode", *["keystroke"] * 4]
    assert all(row["value"] > 0 for row in found)


def test_the_document_has_its_texts():
    assert [line.text for line in make_document(3).outline(next(iter(make_document(1).blocks)))] == [TEXT] * 3
