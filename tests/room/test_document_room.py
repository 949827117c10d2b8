"""A document's room: stored first and shown second, the echo is the acknowledgement, and nobody breaks it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from collabkernel.crdt.yjs.parse import encode_vector
from collabkernel.limits import Limits
from collabkernel.room.effects import Publish, ReadMissing, Send, WakeAt, WriteSnapshot
from collabkernel.room.events import (
    BusLost,
    DatabaseBack,
    DatabaseLost,
    OpsPublished,
    SessionBlocked,
    SessionDrained,
    SnapshotSaved,
    StopAsked,
)
from collabkernel.wire import y_protocol
from collabkernel.wire.messages import Role
from tests.room.document_drive import T0_MS, DocumentDriver, Page

pytestmark = pytest.mark.core


def test_an_edit_is_shown_only_after_it_is_stored_and_to_its_author_too():
    driver = DocumentDriver(answers_log=False)
    ann, bob = driver.join("ann"), driver.join("bob")

    update = driver.type(ann, "hello")

    assert driver.updates(ann) == driver.updates(bob) == []
    driver.answer_log()
    driver.pass_ms(100)
    assert driver.updates(ann) == driver.updates(bob) == [update]
    assert driver.page(bob).text == "hello"


def test_edits_of_a_tick_come_in_one_frame_shared_by_all():
    driver = DocumentDriver()
    everybody = [driver.join(f"user {n}") for n in range(20)]
    driver.pass_ms(1000)
    driver.type(everybody[0], "a")  # shown at once; what follows is shown together

    driver.type(everybody[0], "b")
    driver.type(everybody[1], "c")
    effects = driver.pass_ms(100)

    (send,) = [effect for effect in effects if isinstance(effect, Send)]
    assert send.session_ids == tuple(everybody)
    assert sorted(driver.page(everybody[0]).text) == ["a", "b", "c"]
    assert len({driver.page(session_id).text for session_id in everybody}) == 1


def test_a_step_1_is_answered_only_with_what_is_stored():
    driver = DocumentDriver(answers_log=False)
    ann, bob = driver.join("ann"), driver.join("bob")
    driver.type(ann, "not stored yet")

    driver.step_1(bob)

    assert driver.page(bob).step_2s == 1
    driver.store_next()
    assert driver.page(bob).step_2s == 2
    assert driver.page(bob).text == "not stored yet"


def test_what_the_log_refused_is_seen_by_nobody():
    driver = DocumentDriver(answers_log=False)
    ann, bob = driver.join("ann"), driver.join("bob")
    driver.type(ann, "lost")
    driver.step_1(bob)

    driver.fail_log()

    assert driver.unloaded.startswith("storage-error")
    assert driver.closed == {ann: "storage-error", bob: "storage-error"}
    assert driver.page(bob).text == ""


def test_while_the_database_does_not_answer_edits_are_dropped_and_asked_for_afterwards():
    driver = DocumentDriver(answers_log=False)
    ann, bob = driver.join("ann"), driver.join("bob")
    driver.type(ann, "in flight, ")
    driver.feed(DatabaseLost())
    driver.type(ann, "dropped, ")
    driver.page(ann).asked.clear()
    driver.show(bob, 102, 1, {"cursor": 3})
    driver.pass_ms(60_000)

    assert driver.closed == {}
    assert driver.rejects() == ["degraded"]
    assert (driver.updates(ann), driver.page(bob).text) == ([], ""), "nothing is shown, nor echoed, that is not stored"
    assert driver.awareness[ann][102] == {"cursor": 3}

    driver.feed(DatabaseBack())
    assert driver.page(ann).asked == [], "what is in flight comes first"
    driver.answer_log()
    (vector,) = driver.page(ann).asked
    driver.say(ann, y_protocol.encode_step_2(driver.page(ann).doc.get_update(vector)))
    driver.answer_log()
    driver.pass_ms(100)

    assert driver.page(bob).text == "in flight, dropped, "
    assert len(driver.rows) == 2, "nothing is stored twice"


def test_a_reader_is_not_asked_for_edits_when_the_database_is_back():
    driver = DocumentDriver()
    reader = driver.join("eve", Role.READER)
    driver.feed(DatabaseLost())
    driver.feed(DatabaseBack())
    assert driver.page(reader).asked == []


def test_who_comes_while_the_database_does_not_answer_is_shown_what_is_stored_and_no_more():
    driver = DocumentDriver(answers_log=False)
    ann = driver.join("ann")
    driver.type(ann, "stored")
    driver.answer_log()
    driver.feed(DatabaseLost())
    bob = driver.join("bob")
    assert driver.page(bob).text == "stored"

    driver.feed(DatabaseBack())
    driver.type(ann, ", in flight")
    driver.feed(DatabaseLost())
    eve = driver.join("eve")
    for _ in range(100):
        driver.step_1(eve)
    assert (driver.page(eve).text, driver.page(eve).step_2s) == ("", 0)
    driver.feed(DatabaseBack())
    driver.answer_log()
    assert (driver.page(eve).text, driver.page(eve).step_2s) == ("stored, in flight", 1)


def test_a_document_whose_log_is_long_does_not_spin_while_the_database_does_not_answer():
    driver = DocumentDriver(limits=replace(Limits(), snapshot_log_bytes=1, snapshot_log_interval_ms=10))
    driver.type(driver.join("ann"), "hello")
    driver.feed(DatabaseLost())
    woken = [effect for effect in driver.pass_ms(1000) if isinstance(effect, WakeAt)]
    assert not [effect for effect in woken if effect.at_ms <= driver.now_ms]
    driver.effects.clear()

    driver.feed(DatabaseBack())

    assert [effect for effect in driver.effects if isinstance(effect, WriteSnapshot)]


def test_a_newcomer_is_greeted_with_a_step_1_and_everybodys_awareness():
    driver = DocumentDriver()
    ann = driver.join("ann")
    driver.show(ann, 101, 1, {"user": {"name": "Ann"}})

    bob = driver.enter("bob")

    assert len(driver.page(bob).asked) == 1
    assert driver.awareness[bob] == {101: {"user": {"name": "Ann"}}}


def test_a_readers_edits_are_dropped_and_counted_but_he_is_shown_all():
    driver = DocumentDriver()
    ann, rob = driver.join("ann"), driver.join("rob", Role.READER)

    driver.type(rob, "graffiti")
    driver.type(ann, "text")
    driver.pass_ms(100)

    assert driver.rejects() == ["read-only"]
    assert driver.page(ann).text == "text"
    assert "text" in driver.page(rob).text
    assert driver.bans() == []


def test_what_is_known_already_is_echoed_so_that_its_author_sees_it_arrive():
    driver = DocumentDriver()
    ann, bob = driver.join("ann"), driver.join("bob")
    update = driver.type(ann, "hello")
    driver.pass_ms(100)
    driver.updates(ann), driver.updates(bob)

    driver.say(ann, y_protocol.encode_update(update))

    assert driver.updates(ann) == [update]
    assert driver.updates(bob) == []
    assert len(driver.rows) == 1


def test_a_gap_is_answered_with_a_step_1_and_heals():
    driver = DocumentDriver()
    ann = driver.join("ann")
    page = driver.page(ann)
    page.type("lost on the way ")
    asked = len(page.asked)

    driver.type(ann, "and then")

    assert len(page.asked) == asked + 1
    assert driver.closed == {}
    driver.say(ann, y_protocol.encode_step_2(page.doc.get_update(page.asked[-1])))
    bob = driver.join("bob")
    assert driver.page(bob).text == "lost on the way and then"


def test_gaps_do_not_make_client_and_room_ask_each_other_for_ever():
    driver = DocumentDriver()
    ann = driver.join("ann")
    page = driver.page(ann)
    page.type("lost ")
    driver.type(ann, "1")
    asked = len(page.asked)

    driver.type(ann, "2")

    assert len(page.asked) == asked


def test_what_is_no_message_closes_its_socket_alone():
    driver = DocumentDriver()
    ann, eve = driver.join("ann"), driver.join("eve")

    driver.say(eve, b"\x63garbage")

    assert driver.closed == {eve: "malformed-frame"}
    driver.type(ann, "fine")
    assert len(driver.rows) == 1


def test_who_asks_again_and_again_for_all_of_a_document_is_sent_away():
    """Each question is a few bytes, and each answer a copy of the document in the server's memory."""
    driver = DocumentDriver(replace(Limits(), document_frame_bytes=3000, document_answers_bytes_per_s=1))
    eve = driver.join("eve", Role.READER)
    driver.type(driver.join("ann"), "x" * 1000)

    for n in range(10):
        driver.say(eve, y_protocol.encode_step_1(encode_vector({1000 + n: 1})))

    assert driver.closed == {eve: "quota-exceeded"}
    assert sum(len(frame) for frame in driver.frames[eve]) < 6000


def test_a_slow_reader_is_passed_by_and_caught_up_from_recent_frames():
    driver = DocumentDriver()
    ann, bob = driver.join("ann"), driver.join("bob")
    driver.feed(SessionBlocked(bob))
    driver.type(ann, "while he slept")
    driver.pass_ms(100)
    assert driver.updates(bob) == []

    driver.feed(SessionDrained(bob))

    assert driver.page(bob).text == "while he slept"
    driver.type(ann, ", and after")
    driver.pass_ms(100)
    assert driver.page(bob).text == "while he slept, and after"


def test_who_is_far_behind_gets_the_whole_state():
    driver = DocumentDriver(limits=replace(Limits(), ring_bytes=1))
    ann, bob = driver.join("ann"), driver.join("bob")
    driver.feed(SessionBlocked(bob))
    for word in ("one ", "two ", "three"):
        driver.type(ann, word)
        driver.pass_ms(100)

    driver.feed(SessionDrained(bob))

    assert driver.page(bob).text == "one two three"
    assert driver.page(bob).step_2s == 2


def test_a_socket_that_takes_nothing_for_too_long_is_closed():
    driver = DocumentDriver()
    bob = driver.join("bob")
    driver.feed(SessionBlocked(bob))

    driver.pass_ms(driver.limits.lagging_max_ms)

    assert driver.closed == {bob: "slow-consumer"}


def test_who_joins_together_gets_the_same_bytes_also_while_somebody_types():
    driver = DocumentDriver()
    ann = driver.join("ann")
    driver.type(ann, "x" * 10_000)
    driver.pass_ms(100)

    joiners = []
    for n in range(20):
        joiners.append(driver.join(f"joiner {n}"))
        driver.type(ann, "y")
        driver.pass_ms(100)

    states = [frame for i in joiners for frame in driver.frames[i] if frame.startswith(b"\0\1") and len(frame) > 10_000]
    assert len(states) == len(joiners)
    assert len({id(frame) for frame in states}) == 1
    assert {driver.page(i).text for i in joiners} == {driver.page(ann).text}


def test_something_is_said_to_everybody_every_20_seconds():
    driver = DocumentDriver()
    ann = driver.join("ann")
    driver.pass_ms(1000)
    driver.frames.clear()

    wake = driver.pass_ms(20_000)

    assert driver.frames[ann] == [y_protocol.KEEP_ALIVE]
    assert [effect for effect in wake if isinstance(effect, WakeAt)]


def test_what_another_server_stored_is_shown_here():
    driver = DocumentDriver(has_peers=True)
    ann = driver.join("ann")
    row = driver.store_elsewhere(Page(500).type("from afar"))

    driver.feed(OpsPublished(row.seq, row.seq, b""))
    driver.pass_ms(100)

    assert driver.page(ann).text == "from afar"


def test_what_is_published_is_taken_as_it_comes_when_nothing_is_missing():
    here, there = DocumentDriver(has_peers=True), DocumentDriver(has_peers=True)
    ann, bob = here.join("ann"), there.join("bob")
    here.type(ann, "hello")
    (told,) = [effect for effect in here.effects if isinstance(effect, Publish)]

    there.feed(OpsPublished(told.first_seq, told.last_seq, told.parts))
    there.pass_ms(100)

    assert there.page(bob).text == "hello"
    assert there.room.head == 1
    assert not [effect for effect in there.effects if isinstance(effect, ReadMissing)]


def test_a_room_that_begins_tells_how_far_its_log_is():
    driver = DocumentDriver(has_peers=True)
    row = driver.store_elsewhere(Page(500).type("x"))
    driver.feed(OpsPublished(row.seq, row.seq, b""))

    driver.join("ann")

    assert Publish(1, 1, b"") in driver.effects


def test_own_rows_behind_those_of_others_make_the_room_read_what_is_between():
    driver = DocumentDriver(has_peers=True)
    ann = driver.join("ann")
    driver.store_elsewhere(Page(500).type("theirs "))

    driver.type(ann, "ours")
    driver.pass_ms(100)

    assert driver.room.head == 2
    assert driver.page(ann).text in ("theirs ours", "ourstheirs ")


def test_a_lost_bus_makes_the_room_read_the_log():
    driver = DocumentDriver(has_peers=True)
    ann = driver.join("ann")
    driver.store_elsewhere(Page(500).type("unheard"))

    driver.feed(BusLost())
    driver.pass_ms(100)

    assert driver.page(ann).text == "unheard"


def test_a_log_that_was_compacted_beyond_the_room_makes_it_start_again():
    driver = DocumentDriver(has_peers=True)
    driver.join("ann")
    page = Page(500)
    driver.store_elsewhere(page.type("gone "))
    driver.store_elsewhere(page.type("and after"))
    del driver.rows[0]

    driver.feed(BusLost())

    assert driver.unloaded.startswith("room-reset")


def test_a_stop_stores_and_shows_what_is_in_flight_first():
    driver = DocumentDriver(answers_log=False)
    ann, bob = driver.join("ann"), driver.join("bob")
    driver.type(ann, "the last words")

    driver.feed(StopAsked("server-stopping", "bye"))

    assert driver.closed == {}
    driver.answer_log()
    assert driver.page(bob).text == "the last words"
    assert driver.closed == {ann: "server-stopping", bob: "server-stopping"}


def test_an_idle_document_is_unloaded_and_a_long_log_gets_a_snapshot_first():
    driver = DocumentDriver(limits=replace(Limits(), snapshot_ops=1, snapshot_min_interval_ms=10**9))
    ann = driver.join("ann")
    driver.type(ann, "x")
    driver.leave(ann)

    effects = driver.pass_ms(driver.limits.room_idle_ms)

    assert WriteSnapshot(1) in effects
    driver.feed(SnapshotSaved(1))
    assert driver.unloaded.startswith("idle")


def test_an_idle_room_asks_for_nothing_but_its_keep_alive():
    driver = DocumentDriver()
    driver.join("ann")
    driver.pass_ms(1000)

    wakes = [driver.pass_ms(20_000) for _ in range(3)]

    assert [len(effects) for effects in wakes] == [2, 2, 2]


@pytest.mark.parametrize("is_foreign", [False, True])
def test_a_heavy_log_is_due_for_a_snapshot_though_nobody_says_more(is_foreign: bool):
    driver = DocumentDriver(replace(Limits(), snapshot_log_bytes=10_000, snapshot_log_interval_ms=250))
    ann = driver.join("ann")
    if is_foreign:
        driver.store_elsewhere(Page(9).type("x" * 20_000))
        driver.feed(OpsPublished(1, 1, b""))
    else:
        driver.type(ann, "x" * 20_000)

    assert not [effect for effect in driver.effects if isinstance(effect, WriteSnapshot)]
    assert WakeAt(T0_MS + 250) in driver.effects
    assert WriteSnapshot(1) in driver.pass_ms(250)
