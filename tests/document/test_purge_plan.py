"""What is found to be worth purging: what is deleted now and was so then."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import ROOT, OpId, Stamp
from collabkernel.document.operations import ContainerKind, ListDelete, MapDelete, MapSet, NewContainer, Purge
from collabkernel.document.purge_plan import Then, plan_purges, still_purged
from collabkernel.document.room_state import RoomState
from collabkernel.limits import PURGED_IDS
from collabkernel.wire.state import decode_state, encode_state
from tests.document.test_purging import LIST, MAP, Site, site

pytestmark = pytest.mark.core


def state(made: Site) -> RoomState:
    return RoomState(made.tree)


def copied(made: Site) -> RoomState:
    return RoomState(decode_state(encode_state(made.tree, 0, 0), None)[0])


def filled(count: int) -> tuple[Site, list[OpId]]:
    """A list of so many elements."""
    made = site()
    items = made.tree.nodes[LIST].items  # type: ignore[union-attr]  # it is a list
    ids = []
    for n in range(count):
        made.count += 1
        ids.append(OpId(1, made.count))
        items.insert(ids[-1], Stamp(made.count, 1), *items.insertion_point(n), n)
    return made, ids


def test_slots_go_that_were_dead_then_and_keys_that_were_deleted_by_then():
    made, ids = filled(10)
    made.do(MapSet(MAP, "a", 1), MapSet(MAP, "b", 1), ListDelete(LIST, ids[1]), MapDelete(MAP, "a"))
    then, deleted = copied(made), Stamp(made.count, 1)
    floor = Stamp(made.count, 99)
    made.do(ListDelete(LIST, ids[2]), MapDelete(MAP, "b"))

    assert plan_purges(state(made), Then(then, 0, floor), 1) == [Purge(LIST, (ids[1],)), Purge(MAP, floor=deleted)]
    assert plan_purges(state(made), Then(then, 0, floor), 2) != []
    assert plan_purges(state(made), Then(then, 0, floor), 3) == []
    assert plan_purges(state(made), Then(RoomState(), 0, floor), 1) == [Purge(MAP, floor=deleted)]


def test_a_long_list_is_purged_by_several_operations():
    made, ids = filled(PURGED_IDS + 2)
    made.do(*[ListDelete(LIST, id) for id in ids])

    purges = plan_purges(state(made), Then(copied(made), 0, Stamp(1, 1)), 1)

    assert [len(op.ids) for op in purges] == [PURGED_IDS, 2]
    assert [id for op in purges for id in op.ids] == ids


def test_many_keys_go_by_several_operations_the_oldest_first():
    made = site()
    for n in range(PURGED_IDS + 2):
        made.do(MapSet(MAP, f"k{n}", n), MapDelete(MAP, f"k{n}"))

    purges = plan_purges(state(made), Then(copied(made), 0, Stamp(made.count, 1)), 1)

    room, left = state(made), []
    for n, op in enumerate(purges, 1):
        room.purge(n, op)
        left.append(len(made.tree.nodes[MAP].entries.held()))  # type: ignore[union-attr]  # it is a map
    assert left == [2, 0]


def test_what_is_gone_by_now_is_not_purged_again():
    made, ids = filled(3)
    made.do(ListDelete(LIST, ids[0]), MapSet(MAP, "a", 1), MapDelete(MAP, "a"))
    room, slots, keys = state(made), Purge(LIST, tuple(ids)), Purge(MAP, floor=Stamp(made.count, 1))

    assert still_purged(room, slots, 0) == (Purge(LIST, (ids[0],)), 1)
    assert still_purged(room, keys, 0) == (keys, 1)
    for n, op in enumerate((slots, keys)):
        room.purge(n + 1, op)
        assert still_purged(room, op, 0) is None
    assert room.purged_seq == 2
    assert still_purged(room, Purge(OpId(7, 7), (ids[0],)), 0) is None


def test_a_key_under_which_a_shared_container_was_made_is_not_worth_anything():
    made = site()
    made.do(MapSet(ROOT, "s", NewContainer(ContainerKind.LIST, shared=True)), MapDelete(ROOT, "s"))

    assert plan_purges(state(made), Then(copied(made), 0, Stamp(made.count, 1)), 1) == []
