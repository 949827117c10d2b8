"""The three-way merge: its laws, and what people would expect of it."""

from __future__ import annotations

from collections import Counter

import pytest
from collabkernel_server.lab.merge import common, merge_text, pair, union
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.core

texts = st.text(alphabet="abc \n", max_size=40)
lines = st.lists(st.sampled_from(["", "x = 1", "x = 2", "for i in y:", "    print(i)", "}"]), max_size=12)


def inserted_into(base: list[str], new: list[str], places: list[int]) -> list[str]:
    """The base with new lines at places, in their order."""
    out = list(base)
    for place, line in sorted(zip([p % (len(base) + 1) for p in places], new, strict=False), reverse=True):
        out.insert(place, line)
    return out


def is_subsequence(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(line in rest for line in part)


@given(texts, texts)
def test_a_side_that_changed_nothing_gives_way(base, changed):
    assert merge_text(base, changed, base) == changed
    assert merge_text(base, base, changed) == changed


@given(st.none() | texts, texts)
def test_two_equal_sides_are_that(base, same):
    assert merge_text(base, same, same) == same


@given(lines, st.lists(st.integers(0, 99), max_size=5), st.lists(st.integers(0, 99), max_size=5))
def test_no_line_that_either_side_added_is_lost(base, ours, theirs):
    document = inserted_into(base, [f"<{i}: document>" for i in range(len(ours))], ours)
    disk = inserted_into(base, [f"[{i}: disk]" for i in range(len(theirs))], theirs)

    merged = merge_text("\n".join(base), "\n".join(document), "\n".join(disk)).split("\n")

    assert is_subsequence(document, merged)
    assert is_subsequence(disk, merged)
    assert len(merged) <= max(len(base), 1) + len(ours) + len(theirs)


@given(texts, texts, texts)
def test_no_character_that_either_side_added_is_lost(base, document, disk):
    merged = Counter(merge_text(base, document, disk).replace("\n", ""))

    for side in (document, disk):
        added = Counter(side.replace("\n", "")) - Counter(base.replace("\n", ""))
        assert added - merged == Counter()


@given(texts, texts)
def test_without_a_base_all_of_both_is_kept(document, disk):
    merged = merge_text(None, document, disk).split("\n")

    assert is_subsequence(document.split("\n"), merged)
    assert is_subsequence(disk.split("\n"), merged)


@pytest.mark.parametrize(
    ("base", "document", "disk", "merged"),
    [
        ("a\nb\nc\n", "a\nB\nc\n", "a\nb\nc\nd\n", "a\nB\nc\nd\n"),
        ("a", "a typed", "a\nb", "a typed\nb"),
        ("total = x\n", "total = x + 1\n", "grand_total = x\n", "grand_total = x + 1\n"),
        ("x = 10\n", "x = 25\n", "x = 37\n", "x = 25\nx = 37\n"),
        ("keep\nmine\n", "keep\n", "keep\nmine, changed\n", "keep\nmine, changed\n"),
        ("keep\nmine\n", "keep\nmine, changed\n", "keep\n", "keep\nmine, changed\n"),
        ("a\n", "a\nd1\n", "a\nk1\n", "a\nd1\nk1\n"),
        ("a\n", "a\nsame\nd\n", "a\nsame\n", "a\nsame\nd\n"),
        ("a\nb", "a\nb\n", "a\nb", "a\nb\n"),
        ("one\ntwo\nthree\n", "one\nthree\n", "one\ntwo\n", "one\n"),
        ("", "typed", "written", "typed\nwritten"),
    ],
    ids=[
        "other lines",
        "an open last line",
        "other words of a line",
        "the same word of a line: both lines",
        "deleted here, changed there",
        "changed here, deleted there",
        "two insertions at one place: the document's first",
        "a common insertion, once",
        "a final newline",
        "two deletions",
        "an empty base",
    ],
)
def test_what_people_expect(base, document, disk, merged):
    assert merge_text(base, document, disk) == merged


def test_a_change_on_disk_that_a_crash_hid_is_not_doubled():
    """The process died after a merge and before the save was noted: the document has the disk's lines already."""
    assert merge_text("a\nb\n", "a\nnew on disk\nb\ntyped\n", "a\nnew on disk\nb\n") == "a\nnew on disk\nb\ntyped\n"


def test_union_and_common():
    assert union(["a", "b", "c"], ["a", "x", "c"]) == ["a", "b", "x", "c"]
    assert common(["a", "b", "c"], ["a", "x", "c"]) == ["a", "c"]


def test_replaced_lines_find_their_successors():
    assert pair(["x = 1", "gone", "y = 2"], ["x = 11", "y = 22", "new"]) == [(0, 0), (2, 1)]
    assert pair([f"line {i}" for i in range(60)], [f"line {i}!" for i in range(60)]) == [(i, i) for i in range(60)]
