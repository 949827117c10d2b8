"""What became of a document."""

from __future__ import annotations

import pytest

from tests.client.test_restore import open_docs, past_of

pytestmark = pytest.mark.core


def test_blocks_that_came_went_moved_and_changed_are_told() -> None:
    world, ann, bob = open_docs()
    one, two, three, four = ann.append("the old house\n\ntwo\n\nthree\n\nfour")
    past = past_of(world)
    assert not ann.diff(past)
    assert str(ann.diff(past)) == ""

    one.replace(4, 7, "new")
    one["level"] = 2
    (five,) = bob.append("five")
    world.settle()
    two.delete()
    four.move(before=three)
    three.format(0, 2, bold=True)
    world.settle()
    found = ann.diff(past)

    assert [block.id for block in found.added] == [five.id]
    assert [(block.id, block.text) for block in found.removed] == [(two.id, "two")]
    assert [block.id for block in found.moved] in ([three.id], [four.id])
    assert [(each.block, each.marked(), each.is_formatted) for each in found.changed] == [
        (one, "the {+new+}[-old-] house", False),
        (three, "three", True),
    ]
    assert found.changed[0].properties == {"level": (None, 2)}
    assert found.changed[0].before.text == "the old house"
    assert repr(found) == "<DocDiff: 1 added, 1 removed, 1 moved, 2 changed>"
    assert f"~ {one.id} paragraph: the {{+new+}}[-old-] house" in str(found)
    assert "    level: None -> 2" in str(found)
    back = ann.diff(world.rooms[0], past)
    assert ([block.id for block in back.added], [block.id for block in back.removed]) == ([two.id], [five.id])


def test_a_nested_block_moves_with_the_one_above_it() -> None:
    world, ann, _ = open_docs()
    one, two, three = ann.append("one\n\ntwo\n\nthree")
    three.move(into=one)
    past = past_of(world)
    one.move(after=two)
    assert len(ann.diff(past).moved) == 1
    assert three not in ann.diff(past).moved
    two.move(into=three)
    assert two in ann.diff(past).moved


def test_a_document_that_was_not_there_is_all_new() -> None:
    world, ann, _ = open_docs()
    past = past_of(world)
    notes = world.rooms[0].doc("notes")
    notes.append("one")
    assert [block.text for block in notes.diff(past).added] == ["one"]
    notes.restore(past)
    assert len(notes) == 0
    assert len(ann) == 0
