"""A block as its users see and change it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.client.block import Block, block_name, parse_block_name, smallest_splice
from collabkernel.client.doc import Doc
from collabkernel.crdt.ids import OpId
from collabkernel.errors import DetachedError, InvalidValueError
from tests.client.log_world import World

pytestmark = pytest.mark.core


def three_blocks() -> tuple[World, Doc, list[Block]]:
    world = World(2)
    docs = [room.doc("body") for room in world.rooms]
    world.settle()
    blocks = docs[0].append("one\n\ntwo\n\nthree")
    world.settle()
    return world, docs[1], blocks


def texts(doc: Doc) -> list[str]:
    return [block.text for block in doc]


@given(st.text("ab", max_size=8), st.text("ab", max_size=8))
def test_the_smallest_splice_makes_the_new_text(old: str, new: str):
    index, length, text = smallest_splice(old, new)
    assert old[:index] + text + old[index + length :] == new
    assert length + len(text) <= len(old) + len(new)


def test_names_are_written_and_read():
    assert block_name(OpId(3735928559, 7)) == "b7.3735928559"
    assert parse_block_name("b7.3735928559") == (7, 3735928559)
    assert parse_block_name("b7") == (7, None)
    for bad in ("7", "b07", "b", "b7.", "b7.x"):
        with pytest.raises(InvalidValueError):
            parse_block_name(bad)


def test_text_is_changed_by_what_differs():
    world, other, (one, _, _) = three_blocks()
    other[0].insert(3, "!")
    one.text = "zone"
    one.text += "s"
    world.settle()
    assert one.text in ("zone!s", "zones!")
    one.replace(0, 1, "")
    one.format(0, 2, bold=True)
    assert one.to_delta()[0] == {"insert": "on", "attributes": {"bold": True}}
    with pytest.raises(InvalidValueError):
        one.text = 5  # type: ignore[assignment]  # what is tested


def test_properties_are_registers():
    world, other, (one, _, _) = three_blocks()
    one.type, one.level = "heading", 2
    one["done"] = True
    world.settle()

    assert (other[0].type, other[0].level, other[0]["done"], other[1].level) == ("heading", 2, True, 1)
    assert other[0].properties == {"type": "heading", "level": 2, "done": True}
    del other[0]["done"]
    world.settle()
    assert one.get("done", "no") == "no"
    with pytest.raises(KeyError):
        del one["done"]


def test_blocks_move_beside_and_into_others():
    world, other, (one, two, three) = three_blocks()
    three.move(before=one)
    one.move(after=two)
    two.move(into=three)
    world.settle()

    assert texts(other) == ["three", "two", "one"]
    assert (two.parent, two.depth, three.children, list(three), one.parent) == (three, 1, [two], [two], None)
    one.move(after=one)
    with pytest.raises(InvalidValueError):
        three.move(into=two)
    with pytest.raises(InvalidValueError):
        one.move(after=two, before=three)
    with pytest.raises(InvalidValueError):
        one.move(after=other[0])


def test_blocks_split_and_merge():
    world, other, (one, two, three) = three_blocks()
    rest = two.split(1)
    assert (two.text, rest.text) == ("t", "wo")
    world.settle()
    assert texts(other) == ["one", "t", "wo", "three"]
    assert rest.merge() == two
    assert three.merge() == two
    world.settle()
    assert texts(other) == ["one", "twothree"]
    assert two.split(-5).text == "three"
    assert one.split(0).text == ""
    with pytest.raises(InvalidValueError):
        other[0].merge()


def test_a_block_that_somebody_else_has_merged_is_split_where_its_own_text_is():
    world, other, (one, two, _) = three_blocks()
    other[1].merge()
    world.settle()
    assert (one.text, two.text, two.is_alive) == ("onetwo", "two", True)

    rest = two.split(1)

    assert (one.text, two.text, rest.text) == ("onet", "t", "wo")
    world.settle()
    assert texts(other) == ["onet", "wo", "three"]


def test_a_block_that_somebody_else_has_merged_is_not_merged_once_more():
    world, other, (one, two, _) = three_blocks()
    other[1].merge()
    world.settle()

    assert two.merge() == one

    world.settle()
    assert texts(other) == ["onetwo", "three"]


def test_a_deleted_block_can_be_named_and_no_more():
    world, other, (one, two, three) = three_blocks()
    two.move(into=one)
    told: list[str] = []
    other[0].observe(lambda change: told.append(change.type))
    world.settle()
    one.delete()
    world.settle()

    assert texts(other) == ["three"]
    assert not one.is_alive
    assert not two.is_alive
    assert one.text == "one"
    assert "no longer" in repr(one)
    assert told == ["remove"]
    with pytest.raises(DetachedError):
        two.move(after=three)
    with pytest.raises(DetachedError):
        one.text = "x"


def test_a_batch_that_fails_leaves_nothing():
    world, other, (one, two, _) = three_blocks()
    before = texts(other)
    room = world.rooms[0]

    def fail() -> None:
        room.doc("body").append("four")
        two.move(before=one)
        one.text += " more"
        one.split(1)
        two.delete()
        one["done"] = True
        raise RuntimeError

    with pytest.raises(RuntimeError), room.batch():
        fail()
    assert texts(room.doc("body")) == before
    world.settle()
    assert texts(other) == before
    assert one.properties == {"type": "paragraph"}
