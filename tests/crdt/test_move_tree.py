"""The rules of the move tree, one by one: what concurrent operations on blocks become."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import OpId
from collabkernel.crdt.move_tree import MoveTree, Place, Verdict
from collabkernel.limits import BLOCK_DEPTH_MAX, ORDER_KEY_BYTES_MAX, ORDER_KEY_REBALANCED_BYTES
from tests.crdt.tree_hands import CHILD, INLINE, ROOT_ID, Hands

pytestmark = pytest.mark.core

APPLIED, LIFTED, NOOP, CONCURRENT = Verdict.APPLIED, Verdict.LIFTED, Verdict.NOOP, Verdict.CONCURRENT
CYCLE, DEAD_PARENT, TOO_DEEP, UNKNOWN = Verdict.CYCLE, Verdict.DEAD_PARENT, Verdict.TOO_DEEP, Verdict.UNKNOWN


@pytest.fixture
def hands() -> Hands:
    """``a(b(c)) d``: four blocks of site 1."""
    hands = Hands()
    for name, parent in ("a", "/"), ("b", "a"), ("c", "b"), ("d", "/"):
        assert hands.insert(name, parent) is APPLIED
    return hands


def test_blocks_stand_where_they_are_put(hands: Hands):
    assert hands.insert("e", "/", index=1) is APPLIED
    assert hands.move("d", "a", index=0) is APPLIED

    assert hands.outline() == "a(d b(c)) e"


def test_what_is_there_already_is_a_noop(hands: Hands):
    place = hands.tree.place_of(hands.id("b"))
    assert place is not None
    assert hands.tree.add_root(ROOT_ID) is NOOP
    assert hands.insert("a", "/") is NOOP
    assert hands.move("b", "a", key=place.key, site=2, base=0) is NOOP
    assert hands.delete("d") is APPLIED
    assert hands.delete("d") is NOOP


def test_unknown_blocks_and_roots_are_refused(hands: Hands):
    assert hands.insert("e", "a") is APPLIED
    unknown = OpId(7, 7)
    order = {"seq": 9, "site": 1, "base": 8}
    assert hands.tree.insert(OpId(1, 99), unknown, CHILD, "y000001a0V", **order) is UNKNOWN
    assert hands.tree.move(hands.id("a"), unknown, CHILD, "y000001a0V", **order) is UNKNOWN
    assert hands.tree.move(unknown, ROOT_ID, CHILD, "y000001a0V", **order) is UNKNOWN
    assert hands.tree.rekey(unknown, CHILD, (), **order) is UNKNOWN
    assert hands.move("/", "a") is UNKNOWN
    assert hands.delete("/") is UNKNOWN


def test_of_concurrent_moves_of_one_block_the_first_in_the_log_wins(hands: Hands):
    base = hands.seq
    assert hands.move("c", "d", site=2, base=base) is APPLIED
    assert hands.move("c", "/", site=3, base=base) is CONCURRENT
    assert hands.delete("c", site=3, base=base) is CONCURRENT

    assert hands.outline() == "a(b) d(c)"


def test_a_discarded_move_wins_over_nothing(hands: Hands):
    base = hands.seq
    assert hands.move("b", "d", site=2, base=base) is APPLIED
    assert hands.move("b", "/", site=3, base=base) is CONCURRENT
    assert hands.move("b", "a", site=4, base=base + 1) is APPLIED

    assert hands.outline() == "a(b(c)) d"


def test_a_block_never_comes_below_itself(hands: Hands):
    base = hands.seq
    assert hands.move("a", "c") is CYCLE
    assert hands.move("a", "a") is CYCLE
    assert hands.move("a", "d", site=2, base=base) is APPLIED
    assert hands.move("d", "a", site=3, base=base) is CYCLE

    assert hands.outline() == "d(a(b(c)))"


def test_a_delete_covers_what_its_author_saw_and_lifts_the_rest(hands: Hands):
    base = hands.seq
    hands.insert("x", "b", index=0, site=2, base=base)
    hands.insert("y", "a", index=1, site=2, base=base)
    hands.insert("z", "x", site=2)
    assert hands.delete("a", site=3, base=base) is APPLIED

    assert hands.outline() == "x(z) y d"
    assert not hands.tree.is_alive(hands.id("c"))


def test_an_insert_below_what_was_deleted_stands_where_the_section_was(hands: Hands):
    base = hands.seq
    hands.delete("b", site=2)
    hands.delete("a", site=2)
    assert hands.insert("x", "c", site=3, base=base, key="y000003a0V") is LIFTED
    assert hands.insert("y", "b", site=3, base=base, key="y000003a0V") is LIFTED

    assert hands.outline() == "x y d"


def test_a_move_below_what_was_deleted_is_discarded(hands: Hands):
    base = hands.seq
    hands.delete("a", site=2)
    assert hands.move("d", "b", site=3, base=base, key="y000003a0V") is DEAD_PARENT

    assert hands.outline() == "d"


def test_a_move_that_knows_of_the_delete_restores(hands: Hands):
    base = hands.seq
    hands.delete("a", site=2)
    assert hands.move("a", "/", site=3, base=base) is CONCURRENT
    assert hands.move("c", "/", site=3, base=base) is CONCURRENT
    assert hands.move("c", "d", site=3) is APPLIED
    assert hands.outline() == "d(c)"
    assert hands.move("a", "d", site=3) is APPLIED
    assert hands.outline() == "d(c a(b))"


def test_what_is_restored_does_not_come_below_its_own_dead(hands: Hands):
    hands.delete("a")

    assert hands.move("a", "c") is CYCLE


def test_a_block_deleted_twice_stays_deleted_when_its_section_is_restored(hands: Hands):
    base = hands.seq
    hands.delete("a", site=2, base=base)
    assert hands.delete("b", site=3, base=base) is APPLIED
    hands.move("a", "/", index=0)

    assert hands.outline() == "a d"


def test_merged_text_follows_its_host_and_children_follow_its_own(hands: Hands):
    hands.insert("e", "d")
    hands.insert("f", "/")
    hands.insert("g", "f")
    assert hands.move("d", "a", INLINE) is APPLIED
    assert hands.move("f", "d", INLINE) is APPLIED

    assert hands.outline() == "a+d+f(g)(e)(b(c))"
    tree, id = hands.tree, hands.id
    assert tree.inline_parts(id("a")) == [id("d"), id("f")]
    assert tree.shown_children(id("a")) == [id("b"), id("e"), id("g")]
    assert [(hands.name(node), depth) for node, depth in tree.walk(ROOT_ID)] == [
        ("a", 0),
        ("b", 1),
        ("c", 2),
        ("e", 1),
        ("g", 1),
    ]
    assert tree.host_of(id("f")) == id("a")
    assert tree.shown_parent(id("g")) == id("a")
    assert tree.shown_parent(ROOT_ID) is None


def test_text_merged_into_a_deleted_block_stands_alone(hands: Hands):
    base = hands.seq
    hands.move("d", "a", INLINE, site=2, base=base)
    hands.delete("a", site=3, base=base)

    assert hands.outline() == "d"


def test_two_that_merge_each_other_become_one(hands: Hands):
    base = hands.seq
    assert hands.move("d", "a", INLINE, site=2, base=base) is APPLIED
    assert hands.move("a", "d", INLINE, site=3, base=base, key="y000003a0V") is CYCLE

    assert hands.outline() == "a+d(b(c))"


def test_a_late_insert_keeps_its_place_among_rekeyed_siblings(hands: Hands):
    hands.insert("e", "/")
    base = hands.seq
    between = hands.tree.key_at(ROOT_ID, CHILD, 1, site=2)
    first = hands.tree.key_at(ROOT_ID, CHILD, 0, site=2)
    hands.insert("u", "/", site=3, base=base, index=2)
    assert hands.rekey("/", base=base) is APPLIED
    assert hands.insert("x", "/", site=2, base=base, key=between) is APPLIED
    assert hands.move("c", "/", site=2, base=base, key=first) is APPLIED

    assert hands.outline() == "c a(b) x d u e"
    assert hands.rekey("/", site=8, base=base) is CONCURRENT
    assert hands.rekey("c") is NOOP


def test_a_late_insert_below_a_dead_block_keeps_its_place_among_rekeyed_siblings(hands: Hands):
    hands.insert("e", "/", index=0)
    base = hands.seq
    hands.delete("a")
    hands.rekey("/")
    assert hands.insert("x", "b", site=2, base=base, key="y000002a0V") is LIFTED

    assert hands.outline() == "e x d"


def test_rebalancing_is_due_when_keys_are_long_and_makes_them_short(hands: Hands):
    at, names = 1, "efghijklmnopqrstuvwxyz"
    for site, name in enumerate(names, 10):
        hands.insert(name, "/", index=at, site=site)
    assert hands.tree.rebalances_due() == [(ROOT_ID, CHILD)]
    before, visited = hands.outline(), hands.tree.visited
    assert hands.rekey("/") is APPLIED
    assert hands.tree.visited - visited == len(names) + 2

    assert hands.tree.rebalances_due() == []
    assert hands.outline() == before
    keys = [hands.tree.place_of(node) for node in hands.tree.children(ROOT_ID)]
    assert max(len(place.key) for place in keys if place) < ORDER_KEY_REBALANCED_BYTES


def test_keys_stay_bounded_however_deep_the_deleted_way_was(hands: Hands):
    hands.insert("e", "d", key="y000001a0V" * 20)
    hands.insert("f", "e", key="y000001a0V" * 20)
    base = hands.seq
    hands.delete("d")
    hands.insert("x", "f", site=2, base=base, key="y000002a0V")
    hands.insert("y", "f", site=2, base=base, key="y000002a0V" * 25)
    places = [hands.tree.place_of(hands.id(name)) for name in "xy"]

    assert hands.outline() == "a(b(c)) y x"
    assert max(len(place.key) for place in places if place) <= ORDER_KEY_BYTES_MAX


def test_rewind_takes_back_everything_since_the_mark(hands: Hands):
    base = hands.seq
    hands.insert("u", "b", site=2)
    hands.delete("d")
    before = list(hands.tree.rows()), hands.tree.rekeys()
    mark = hands.tree.mark()
    hands.insert("e", "a")
    hands.move("c", "e", INLINE)
    hands.rekey("/")
    hands.delete("a", site=3, base=base)
    hands.tree.add_root(OpId(0, 9))
    hands.move("d", "/")
    hands.tree.rewind(mark)

    assert (list(hands.tree.rows()), hands.tree.rekeys()) == before
    assert hands.outline() == "a(b(c u))"
    hands.tree.settle()


def test_changes_tell_where_blocks_stood_and_stand(hands: Hands):
    hands.tree.watch()
    hands.insert("e", "/")
    hands.move("c", "d")
    hands.move("d", "a")
    hands.delete("e")
    hands.delete("b")
    places = {name: hands.tree.place_of(hands.id(name)) for name in "cd"}

    changes = {hands.name(node): change for node, change in hands.tree.changes().items()}
    assert sorted(changes) == ["b", "c", "d"]
    assert changes["b"][1] is None
    assert changes["c"] == (Place(hands.id("b"), CHILD, "y000001a0V"), places["c"])
    assert changes["d"][1] == places["d"]


def test_reading_one_node(hands: Hands):
    tree, id = hands.tree, hands.id
    assert list(tree.ancestors(id("c"))) == [id("b"), id("a"), ROOT_ID]
    assert tree.parent_of(id("a")) == ROOT_ID
    assert tree.parent_of(ROOT_ID) is None
    assert tree.index_of(id("d")) == 1
    assert tree.position_op_of(id("c")) == (3, 1)
    assert tree.roots() == [ROOT_ID]
    assert len(tree) == 5
    assert id("c") in tree
    last = tree.place_of(id("c"))
    hands.delete("c")
    assert tree.place_of(id("c")) is None
    assert tree.last_place_of(id("c")) == last
    with pytest.raises(KeyError):
        tree.index_of(id("c"))


def test_a_key_for_a_moved_block_leaves_its_own_place_out(hands: Hands):
    for name in "ef":
        hands.insert(name, "/")
    for index, outline in enumerate(("e a d f", "a e d f", "a d e f", "a d f e")):
        key = hands.tree.key_at(ROOT_ID, CHILD, index, 1, leaving_out=hands.id("e"))
        hands.move("e", "/", key=key)
        assert hands.outline().replace("(b(c))", "") == outline


def test_nothing_is_put_between_equal_keys(hands: Hands):
    hands.insert("e", "d", key="y000002a0V")
    hands.insert("f", "d", key="y000002a0V")
    hands.insert("g", "d", index=1)

    assert hands.outline() == "a(b(c)) d(e f g)"


def test_a_tree_is_restored_from_its_rows(hands: Hands):
    hands.insert("e", "b", INLINE)
    hands.delete("d")
    hands.delete("b")
    hands.insert("f", "/")
    hands.rekey("/")
    rows, rekeys = list(hands.tree.rows()), hands.tree.rekeys()
    restored = MoveTree.restore(reversed(rows), rekeys)

    assert list(restored.rows()) == rows
    assert restored.rekeys() == rekeys
    assert [restored.is_alive(row.id) for row in rows] == [hands.tree.is_alive(row.id) for row in rows]


def test_nothing_is_put_over_a_thousand_levels_down(hands: Hands):
    tree, order = hands.tree, {"seq": 99, "site": 1, "base": 98}
    above, levels = hands.id("d"), 0
    while tree.insert(OpId(1, levels), above, CHILD, "y000001a0V", **order) is APPLIED:
        above, levels = OpId(1, levels), levels + 1

    assert levels == BLOCK_DEPTH_MAX - 1
    assert tree.move(hands.id("c"), above, CHILD, "y000001a0V", **order) is TOO_DEEP
    # What is stacked on deep stacks has a limit of its own, and so has the way up through what was deleted.
    assert tree.move(hands.id("d"), hands.id("c"), CHILD, "y000001a0V", **order) is APPLIED
    tree.delete(hands.id("d"), **order)
    assert tree.move(above, hands.id("a"), CHILD, "y000001a0V", **order) is APPLIED
    assert tree.insert(OpId(2, 1), OpId(1, levels - 2), CHILD, "y000002a0V", **order) is TOO_DEEP


def test_a_delete_visits_each_block_below_once_however_deep_what_it_lifts(hands: Hands):
    tree, order = hands.tree, {"seq": 99, "site": 1, "base": 98}
    above = hands.id("d")
    for level in range(900):
        tree.insert(OpId(1, level), above, CHILD, "y000001a0V", **order)
        above = OpId(1, level)
    for number in range(300):
        tree.insert(OpId(3, number), above, CHILD, f"y000003b0{number:03}V", seq=100, site=3, base=99)
    before = tree.visited
    assert tree.delete(hands.id("d"), seq=101, site=2, base=99) is APPLIED

    assert tree.visited - before == 900 + 300 + 901  # Looked at, and marked dead.
    lifted = [tree.place_of(OpId(3, number)) for number in range(300)]
    assert tree.children(ROOT_ID) == [hands.id("a"), *(OpId(3, number) for number in range(300))]
    assert max(len(place.key) for place in lifted if place) <= ORDER_KEY_BYTES_MAX


def test_what_was_deleted_is_let_go_of_with_what_died_of_that(hands: Hands):
    assert hands.rekey("a") is APPLIED
    hands.delete("b")
    hands.delete("a")
    ids = {name: hands.id(name) for name in "abcd"}
    assert sorted(hands.tree.trashed()) == [(ids["a"], hands.seq), (ids["b"], hands.seq - 1)]
    assert hands.tree.trashed_out_of([ids["a"], ids["b"], ids["d"]]) == [(ids["b"], ids["a"])]
    assert hands.tree.died_with(ids["b"]) == [ids["b"], ids["c"]]
    assert hands.tree.died_with(ids["c"]) == hands.tree.died_with(ids["d"]) == hands.tree.died_with(OpId(7, 7)) == []

    hands.tree.forget([ids["b"], ids["c"], ids["d"]])
    assert len(hands.tree) == 3
    hands.tree.forget([ids["a"]])

    assert hands.outline() == "d"
    assert len(hands.tree) == 2
    assert hands.tree.rekeys() == []
    assert hands.move("a", "/") is UNKNOWN
