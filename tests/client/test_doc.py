"""A document as its users see it."""

from __future__ import annotations

import pytest

from collabkernel.client.doc import Doc
from collabkernel.errors import DetachedError, InvalidValueError, ReadOnlyError
from collabkernel.wire.messages import PresenceCluster, Role, ServerMessage
from tests.client.log_world import World

pytestmark = pytest.mark.core


def open_docs(count: int = 2) -> tuple[World, list[Doc]]:
    world = World(count)
    docs = [room.doc("body") for room in world.rooms]
    world.settle()
    return world, docs


def texts(doc: Doc) -> list[str]:
    return [block.text for block in doc]


def test_blocks_are_added_found_and_read_in_order():
    world, (ann, bob) = open_docs()
    one, two = ann.append("one\n\ntwo")
    ann.insert("between", after=one)
    ann.insert("first", before=one)
    world.settle()

    assert texts(bob) == ["first", "one", "between", "two"]
    assert (len(bob), bool(ann), bob[-1].text) == (4, True, "two")
    assert bob[two.id] == bob[3]
    assert [block.text for block in bob.children] == texts(bob)
    assert bob[0] in bob
    assert one not in bob
    assert bob.text == "first\none\nbetween\ntwo"
    with pytest.raises(InvalidValueError):
        ann.insert("nowhere")


def test_crowds_are_told_by_the_names_of_blocks():
    world, (ann, bob) = open_docs()
    (one,) = ann.append("one")
    other = world.rooms[0].doc("other").append("two")[0]
    world.settle()
    room = world.rooms[1]
    clusters = (PresenceCluster(one._id, 12), PresenceCluster(other._id, 30))

    room.receive_message(ServerMessage(clusters=clusters))

    assert bob.crowds == {one.id: 12}
    assert room.doc("other").crowds == {other.id: 30}


def test_a_short_name_does_where_one_block_has_it():
    world, (ann, bob) = open_docs()
    (one,) = ann.append("one")
    short = one.id.split(".")[0]
    assert ann[short] == one
    bob.append("two")
    world.settle()

    with pytest.raises(KeyError, match="say which"):
        ann[short]
    with pytest.raises(KeyError, match="no such block"):
        ann["b999"]
    with pytest.raises(InvalidValueError):
        ann["seven"]


def test_the_outline_names_and_nests_blocks():
    _, (ann, _) = open_docs()
    one, two = ann.append("one\n\ntwo")
    two.move(into=one)
    assert ann.outline() == f"{one.id} paragraph: one\n  {two.id} paragraph: two"


def test_a_document_of_one_name_is_one_and_others_are_others():
    world, (ann, bob) = open_docs()
    notes = world.rooms[0].doc("notes")
    notes.append("aside")
    world.settle()

    assert (len(ann), len(bob), len(world.rooms[1].doc("notes"))) == (0, 0, 1)
    assert world.log.state.tree.to_json() == {}


def test_changes_are_told_with_their_block():
    world, (ann, bob) = open_docs()
    told: list[tuple[str, str, object, bool]] = []
    bob.observe(lambda change: told.append((change.type, change.owner.text, change.name, change.remote)))
    rooms: list[int] = []
    world.rooms[1].observe(lambda changes: rooms.append(len(changes)))
    one, two = ann.append("one\n\ntwo")
    world.settle()
    kinds = {each[:2] for each in told}
    assert kinds == {("insert", "one"), ("insert", "two"), ("text", "one"), ("text", "two")}
    told.clear()

    two.move(before=one)
    one["done"] = True
    bob[1].text += "!"
    world.settle()
    two.delete()
    world.settle()

    assert ("text", "two!", None, False) in told
    assert ("set", "one", "done", True) in told
    assert ("move", "two!", None, True) in told
    assert told[-1][0] == "remove"
    assert sum(rooms) > 0


def test_undo_and_redo_take_back_own_edits_alone():
    world, (ann, bob) = open_docs()
    one, two = ann.append("one\n\ntwo")
    world.settle()
    history = world.rooms[0].history

    two.move(before=one)
    bob[0].text += "!"
    one.split(1)
    two.delete()
    world.settle()
    assert texts(ann) == ["o", "ne!"] or texts(ann) == ["o", "ne"]
    for _ in range(3):
        assert history.undo()
    world.settle()

    assert texts(ann) == texts(bob)
    assert "".join(texts(ann)).replace("!", "") == "onetwo"
    assert history.undo()
    assert texts(ann) == []
    assert history.redo()
    assert len(ann) == 2


@pytest.mark.parametrize("who", [0, 1], ids=["own", "others"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_blocks_deleted_in_one_batch_come_back_in_their_order(who: int, order: tuple[int, ...]):
    world, docs = open_docs()
    docs[0].append("a\n\nb\n\nc\n\nd")
    world.settle()
    deleted = [docs[who][number] for number in order]

    with world.rooms[who].batch():
        for block in deleted:
            block.delete()
    world.settle()
    assert texts(docs[1 - who]) == ["d"]
    assert world.rooms[who].history.undo()
    world.settle()

    assert texts(docs[0]) == texts(docs[1]) == ["a", "b", "c", "d"]


def test_what_was_below_a_deleted_block_comes_back_in_its_order():
    world, (ann, bob) = open_docs()
    section, one, two = ann.append("# s\n\none\n\ntwo")
    one.move(into=section)
    two.move(after=one)
    world.settle()
    two.delete()
    one.delete()
    world.settle()
    bob[0].delete()
    world.settle()

    assert world.rooms[0].history.undo()
    assert world.rooms[0].history.undo()
    world.settle()

    assert texts(ann) == texts(bob) == ["one", "two"]


def test_a_reader_makes_none():
    world = World(1)
    world.lines[0].cut()
    world.lines[0].role = Role.READER
    world.settle()
    with pytest.raises(ReadOnlyError):
        world.rooms[0].doc("body")


def test_a_document_that_is_not_here_says_so():
    world, (ann, _) = open_docs()
    ann.append("kept")
    world.log.refuse_counters.add((world.rooms[0].site, world.rooms[0].replica.pending.next_counter))
    refused = world.rooms[0].doc("refused")
    world.settle()

    assert texts(ann) == ["kept"]
    with pytest.raises(DetachedError):
        len(refused)


def test_who_watches_is_told_when_an_edit_was_refused():
    world, (ann, _) = open_docs()
    one, _ = ann.append("one\n\ntwo")
    world.settle()
    told: list[tuple[str, str]] = []
    ann.observe(lambda change: told.append((change.type, change.owner.text)))
    world.log.refuse_counters.add((world.rooms[0].site, world.rooms[0].replica.pending.next_counter))

    one.text += " is refused"
    world.settle()

    assert texts(ann) == ["one", "two"]
    assert told[0] == ("text", "one is refused")
    assert ("reset", "one") in told
    assert ("reset", "two") not in told
