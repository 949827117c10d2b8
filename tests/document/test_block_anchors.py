"""Places in the text of blocks; client/test_comments.py follows them through splits and merges of several people."""

from __future__ import annotations

import pytest

from collabkernel.client.doc import Doc
from collabkernel.crdt.ids import OpId
from collabkernel.document.block_anchors import TextAnchor, TextRange, anchors_of, find
from tests.client.log_world import World

pytestmark = pytest.mark.core


def open_doc() -> Doc:
    world = World(1)
    doc = world.rooms[0].doc("body")
    doc.append("one two three\n\nfour five")
    return doc


def test_a_stretch_is_found_in_every_block_that_has_some_of_it() -> None:
    doc = open_doc()
    blocks = doc._context.replica.state.blocks
    assert blocks is not None
    first, second = doc[0], doc[1]
    anchors = anchors_of(blocks, first._id, 4, 7)
    assert find(blocks, anchors) == [TextRange(first._id, 4, 7)]

    first.insert(5, "ww")
    first.insert(0, ">>")
    assert find(blocks, anchors) == [TextRange(first._id, 6, 11)]
    half = first.split(8)
    assert find(blocks, anchors) == [TextRange(first._id, 6, 8), TextRange(half._id, 0, 3)]
    second.merge()
    half.merge()
    assert find(blocks, anchors) == [TextRange(first._id, 6, 11)]
    over_two_ropes = anchors_of(blocks, first._id, 10, first.text.index("five") + 4)
    assert len(over_two_ropes) == 2
    assert find(blocks, over_two_ropes) == [TextRange(first._id, 10, len(first.text))]
    first.replace(5, 12, "")
    assert find(blocks, anchors) == []
    first.delete()
    assert find(blocks, over_two_ropes) == []


def test_anchors_of_what_never_was_find_nothing() -> None:
    doc = open_doc()
    blocks = doc._context.replica.state.blocks
    assert blocks is not None
    (good,) = anchors_of(blocks, doc[0]._id, 0, 3)
    for wrong in (
        TextAnchor(OpId(9, 9), good.first, good.last),
        TextAnchor(good.rope, (1, 1), good.last),
        TextAnchor(good.rope, good.first, (good.last[0], 10**6)),
        TextAnchor(good.rope, good.last, good.first),
    ):
        assert find(blocks, [wrong]) == []
    with pytest.raises(IndexError):
        anchors_of(blocks, doc[0]._id, 0, 99)
