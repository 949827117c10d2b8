"""The documents behind ropes."""

from __future__ import annotations

import pytest
from pycrdt import Doc, Text

from collabkernel.crdt.text import TextRope
from collabkernel.crdt.text_doc import Mark, build, merge

pytestmark = pytest.mark.core


def test_a_mark_means_the_updates_that_were_there() -> None:
    rope = TextRope(7)
    updates = [(7, rope.insert(0, "one")), (7, rope.insert(3, " two"))]
    mark = Mark(b"", updates, 1)
    updates.append((7, rope.insert(7, " three")))

    assert str(build(mark, 9)[1]) == "one"
    assert str(build(Mark(rope.encode_state(), [], 0), 9)[1]) == "one two three"


def test_merge_takes_many_at_a_time():
    ann = TextRope(1)
    updates = [ann.insert(index, "x") for index in range(130)]
    doc: Doc[Text] = Doc()
    text = doc.get("text", type=Text)

    doc.apply_update(merge(updates))

    assert str(text) == "x" * 130
    assert merge([]) == b"\x00\x00"
    assert merge(updates[:1]) == updates[0]
