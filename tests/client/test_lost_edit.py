"""Who writes in a block that another deletes is told, and brings it back with what he wrote."""

from __future__ import annotations

from collabkernel.client.lost_edit import LostEdit
from collabkernel.limits import RESTORE_OFFERED_MS
from collabkernel.server.hub import Hub
from collabkernel.storage.memory import MemoryStorage
from tests.client.log_world import World
from tests.server.hub_rooms import leave, people, until
from tests.server.raw import run


def test_two_clients_of_a_real_hub_delete_and_write_at_once() -> None:
    async def scenario(hub: Hub) -> None:
        ann, bob = everybody = await people(hub, "ann", "bob")
        block = ann.doc.append("Write it.\n\nKeep it.")[0]
        await until(lambda: len(bob.doc) == 2)
        told: list[LostEdit] = []
        bob.doc.on_lost_edit(told.append)
        ann.doc.on_lost_edit(told.append)

        block.delete()
        bob.doc[0].text += " Today."
        await until(lambda: told)

        (lost,) = told
        assert (lost.actor, lost.block.id, lost.block.text) == ("ann", block.id, "Write it. Today.")
        assert not lost.block.is_alive
        assert ann.texts == bob.texts == ["Keep it."]
        assert lost.restore() == lost.block
        for person in everybody:
            await until(lambda person=person: person.texts == ["Write it. Today.", "Keep it."])
        assert lost.restore() == lost.block
        assert bob.room.history.undo()
        for person in everybody:
            await until(lambda person=person: person.texts == ["Keep it."])
        assert len(told) == 1
        bob.doc.off_lost_edit(told.append)
        await leave(everybody)

    run(scenario, Hub(MemoryStorage()))


def worlds() -> tuple[World, list[LostEdit]]:
    """Two rooms that have a section with a paragraph; what the second is told."""
    world = World(2)
    ann, bob = (room.doc("body") for room in world.rooms)
    section, paragraph = ann.append("# Plan\n\nWrite it.")
    if section.depth == paragraph.depth:
        paragraph.move(into=section)
    world.settle()
    told: list[LostEdit] = []
    bob.on_lost_edit(told.append)
    return world, told


def first_ann(world: World) -> None:
    """What Ann does comes first in the log."""
    world.lines[0].send()
    world.lines[0].serve_one()


def test_a_property_counts_and_a_section_that_was_deleted_stays_so() -> None:
    world, told = worlds()
    ann, bob = (room.doc("body") for room in world.rooms)
    ann[0].delete()
    first_ann(world)
    bob[1]["done"] = True
    world.settle()

    (lost,) = told
    assert lost.actor == f"user{world.rooms[0].site}"
    assert "no longer in its document" in repr(lost)
    lost.restore()
    world.settle()

    assert [(block.text, block.get("done"), block.depth) for block in ann] == [("Write it.", True, 0)]


def test_who_deletes_without_having_seen_the_edit_tells_its_author_as_well() -> None:
    world, told = worlds()
    ann, bob = (room.doc("body") for room in world.rooms)
    bob[1].text += " Today."
    world.lines[1].send()
    world.lines[1].serve_one()
    ann[1].delete()
    world.settle()

    assert [lost.block.text for lost in told] == ["Write it. Today."]


def test_who_deletes_what_he_has_read_tells_nobody() -> None:
    world, told = worlds()
    ann, bob = (room.doc("body") for room in world.rooms)
    bob[1].text += " Today."
    world.settle()
    ann[1].delete()
    world.settle()
    bob[0].text += "!"
    bob[0].delete()
    world.settle()

    assert told == []


def delete_and_write_apart(apart_ms: int, *, is_offline: bool) -> list[LostEdit]:
    """Ann deletes what Bob writes in without having seen that; his edit comes so much later."""
    world, told = worlds()
    ann, bob = (room.doc("body") for room in world.rooms)
    if is_offline:
        world.lines[1].cut()
    bob[1].text += " Today."
    ann[1].delete()
    first_ann(world)
    world.lines[0].flush()
    world.lines[0].deliver_one()
    if not is_offline:
        world.lines[1].flush()
        world.lines[1].deliver_one()
    world.pass_time(apart_ms)
    world.settle()
    assert [block.text for block in bob] == ["Plan"]
    return told


def test_after_five_seconds_nothing_is_offered() -> None:
    for is_offline in (False, True):
        assert len(delete_and_write_apart(RESTORE_OFFERED_MS - 100, is_offline=is_offline)) == 1
        assert delete_and_write_apart(RESTORE_OFFERED_MS + 100, is_offline=is_offline) == []


def test_what_was_merged_into_a_block_that_is_deleted_comes_back_with_it() -> None:
    world, told = worlds()
    ann, bob = (room.doc("body") for room in world.rooms)
    ann[1].merge()
    ann[0].delete()
    first_ann(world)
    world.lines[0].serve_one()
    bob[1].text += " Today."
    world.settle()

    (lost,) = told
    assert lost.restore().text == "PlanWrite it. Today."
    world.settle()
    assert ann.text == bob.text == "PlanWrite it. Today."


def test_only_who_wrote_is_told_and_only_of_his_document() -> None:
    world, told = worlds()
    ann = world.rooms[0].doc("body")
    others: list[LostEdit] = []
    ann.on_lost_edit(others.append)
    world.rooms[1].doc("notes").on_lost_edit(others.append)
    bob = world.rooms[1].doc("body")
    ann[1].delete()
    first_ann(world)
    bob[1].text += " Today."
    world.settle()

    assert len(told) == 1
    assert others == []


def test_a_room_without_documents_has_nothing_to_tell() -> None:
    world = World(2)
    world.rooms[0].list("tasks").append("a")
    world.settle()

    assert world.rooms[1].to_json() == {"tasks": ["a"]}
