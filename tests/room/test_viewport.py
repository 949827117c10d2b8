"""Sessions that look at a part of a document: what they are sent, when, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from collabkernel.crdt.ids import ROOT, OpId, Slot
from collabkernel.crdt.order_key import key_between
from collabkernel.document.operations import BlockDelete, BlockInsert, MapSet, NewDocument, Purge, document_id
from collabkernel.limits import PARTITION_BLOCKS_MAX, VIEWPORT_PARTITIONS_KEPT, Limits
from collabkernel.room import viewport
from collabkernel.room.effects import ReadCatchUp
from collabkernel.room.events import (
    FrameReceived,
    Keeping,
    KeepingAnswered,
    PurgeAsked,
    SessionBlocked,
    SessionClosed,
    SessionDrained,
)
from collabkernel.room.viewport import THROUGH_MS
from collabkernel.wire.codec import encode_client_message
from collabkernel.wire.frames import snapshot_part
from collabkernel.wire.messages import Resync, ServerMessage, Viewport
from collabkernel.wire.room_state import decode_contents
from tests.room.book import BODY, Book
from tests.room.drive import Driver, envelope

pytestmark = pytest.mark.core


def given(messages: Sequence[ServerMessage]) -> dict[OpId, dict[str, object]]:
    """The blocks whose contents came, with their properties."""
    found = [each for message in messages for part in message.contents for each in decode_contents(part.blocks)]
    return {each.id: {key: register[1] for key, register in each.registers} for each in found}


def lost(messages: Sequence[ServerMessage]) -> set[OpId]:
    return {block for message in messages for part in message.contents for block in part.lost}


def targets(messages: Sequence[ServerMessage]) -> list[OpId]:
    """What the operations that came are on."""
    return [op.target for message in messages for stored in message.filtered for op in stored.envelope.ops]


def test_who_looks_is_given_what_is_there_and_some_beside_it():
    book = Book()
    book.set(book.blocks[0], 5)
    reader = book.join()

    contents = given(book.look(reader, book.blocks[0], book.blocks[1]))

    assert contents[book.blocks[0]] == {"level": 5}
    assert contents[book.blocks[1]] == {}
    assert len(contents) <= PARTITION_BLOCKS_MAX
    assert book.blocks[-1] not in contents
    assert given(book.look(reader, book.blocks[2])) == {}, "that he has already"


def test_a_viewport_named_before_hello_is_answered_behind_the_catch_up():
    book = Book()

    reader = book.join(book.blocks[-1])

    reads = [effect for effect in book.driver.effects if isinstance(effect, ReadCatchUp)]
    assert reads[-1].is_partial
    welcome, *others = book.driver.take(reader)
    assert welcome.welcome is not None
    assert book.blocks[-1] in given(others)


def test_operations_off_screen_are_not_sent_and_through_tells_so():
    book = Book()
    reader = book.join(book.blocks[0])
    book.driver.take(reader)

    book.set(book.blocks[-1], 1)
    (off_screen,) = book.driver.take(reader)
    book.set(book.blocks[0], 2)
    (on_screen,) = book.driver.take(reader)

    assert (off_screen.filtered, off_screen.through) == ((), book.driver.head - 1)
    assert off_screen.through_op == OpId(book.site, book.counter - 2)
    assert targets([on_screen]) == [book.blocks[0]]
    assert on_screen.through == book.driver.head


def test_who_needs_nothing_is_told_at_most_every_five_seconds_how_far_he_is_complete():
    book = Book()
    reader = book.join(book.blocks[0])
    for _ in range(3):
        book.set(book.blocks[-1], 1)
    assert len([message for message in book.driver.take(reader) if message.through_op]) == 1

    book.driver.now_ms += THROUGH_MS
    book.driver.feed()

    (message,) = book.driver.take(reader)
    assert (message.through, message.through_op) == (book.driver.head, OpId(book.site, book.counter - 1))
    book.driver.now_ms += THROUGH_MS
    book.driver.feed()
    assert book.driver.take(reader) == []


def test_what_is_not_filtered_follows_what_he_was_told():
    book = Book()
    reader = book.join(book.blocks[0])
    book.set(book.blocks[-1], 1)
    book.set(book.blocks[-1], 2)
    book.driver.take(reader)
    book.driver.feed(SessionBlocked(reader))
    book.set(book.blocks[-1], 3)

    book.driver.feed(SessionDrained(reader))

    told, behind = book.driver.take(reader)
    assert told.through == behind.ops[0].seq - 1
    assert behind.through == book.driver.head


def test_the_writer_without_a_viewport_is_shown_everything_as_ever():
    book = Book()
    book.join(book.blocks[0])
    book.driver.take(book.writer)

    book.set(book.blocks[-1], 1)

    shown = [message for message in book.driver.take(book.writer) if message.through]
    assert [message.ops[0].envelope.ops[0].target for message in shown] == [book.blocks[-1]]
    assert [message.through_op for message in shown] == [None]


def test_places_and_live_values_are_everybodys():
    book = Book()
    reader = book.join(book.blocks[0])
    book.driver.take(reader)

    book.write(MapSet(ROOT, "title", "x"), MapSet(book.blocks[-1], "level", 3), BlockDelete(book.blocks[-1]))

    (message,) = book.driver.take(reader)
    assert [(stored.seq, stored.envelope.counter) for stored in message.filtered] == [
        (book.driver.head - 2, book.counter - 3),
        (book.driver.head, book.counter - 1),
    ]
    assert targets([message]) == [ROOT, book.blocks[-1]]
    assert {stored.envelope.hlc - stored.envelope.counter for stored in message.filtered} == {
        message.filtered[0].envelope.hlc - message.filtered[0].envelope.counter
    }, "stamps go on with counters"


@pytest.mark.heavy
def test_sessions_that_see_the_same_share_a_frame():
    book = Book()
    near = [book.join(book.blocks[0]), book.join(book.blocks[1])]
    far = book.join(book.blocks[-1])
    book.driver.effects.clear()

    book.set(book.blocks[0], 1)

    flushed = [e for e in book.driver.effects if type(e).__name__ == "Send" and set(e.session_ids) & {*near, far}]  # type: ignore[union-attr]
    assert sorted(tuple(e.session_ids) for e in flushed) == [tuple(near), (far,)]  # type: ignore[union-attr]


@pytest.mark.interpreted
def test_contents_are_encoded_once_for_all_who_come_together(monkeypatch: pytest.MonkeyPatch):
    book = Book()
    readers = [book.join() for _ in range(3)]
    encoded: list[OpId] = []
    encode = viewport.encode_contents
    monkeypatch.setattr(viewport, "encode_contents", lambda blocks, ids: encoded.extend(ids) or encode(blocks, ids))
    frames = [encode_client_message(Viewport((book.blocks[0],)))] * 3

    book.driver.feed(*[FrameReceived(*each) for each in zip(readers, frames, strict=True)])

    contents = given(book.driver.take(readers[0]))
    assert all(given(book.driver.take(reader)) == contents for reader in readers[1:])
    assert sorted(encoded) == sorted(contents), "each once"

    encoded.clear()
    book.set(book.blocks[1], 7)
    late = book.join()
    book.driver.send(late, Viewport((book.blocks[0],)))
    book.tick()
    assert given(book.driver.take(late)) == contents | {book.blocks[1]: {"level": 7}}
    assert encoded == [book.blocks[1]], "the others are as they were"


def test_a_new_block_is_told_of_to_those_who_see_its_partition():
    book = Book()
    near, far = book.join(book.blocks[-1]), book.join(book.blocks[0])
    book.driver.take(near)
    book.driver.take(far)

    (made,) = book.append(1)

    assert given(book.driver.take(near)) == {made: {}}
    seen_from_afar = book.driver.take(far)
    assert given(seen_from_afar) == {}
    assert targets(seen_from_afar) == [BODY], "its place is everybody's"


def test_who_inserts_a_block_out_of_his_sight_is_given_it():
    book = Book()
    writer = book.join(book.blocks[0])
    book.driver.take(writer)
    made = OpId(100 + writer, 1)
    key = key_between(book.keys[-1], None, 100 + writer)

    book.driver.submit(writer, envelope(1, BlockInsert(BODY, Slot.CHILD, key, "paragraph"), base=book.driver.head))
    assert made in given(book.driver.take(writer))
    book.set(made, 7)

    assert targets(book.driver.take(writer)) == [made]


def test_who_sees_a_partition_sees_what_it_is_divided_into():
    book = Book()
    reader = book.join(book.blocks[-1])
    made = book.append(PARTITION_BLOCKS_MAX)
    book.driver.take(reader)

    book.set(made[0], 1)
    book.set(made[-1], 2)

    assert targets(book.driver.take(reader)) == [made[0], made[-1]]


def test_contents_wait_for_what_the_log_has_not_answered_for():
    book = Book()
    reader = book.join()
    book.driver.take(reader)
    book.driver.answers_log = False
    book.set(book.blocks[0], 9)

    assert given(book.look(reader, book.blocks[0])) == {}
    book.driver.answer_log()

    messages = book.driver.take(reader)
    assert given(messages)[book.blocks[0]] == {"level": 9}
    assert messages[0].contents, "before the operations that follow them"
    assert messages[-1].through == book.driver.head


def test_contents_of_what_the_log_did_not_take_are_never_sent():
    book = Book()
    reader = book.join()
    book.driver.answers_log = False
    book.set(book.blocks[0], 9)
    book.look(reader, book.blocks[0])

    book.driver.fail_log()

    messages = book.driver.take(reader)
    assert given(messages) == {}
    assert messages[-1].bye is not None


def test_somebody_who_left_while_contents_were_held_is_forgotten():
    book = Book()
    reader = book.join()
    book.driver.answers_log = False
    book.set(book.blocks[0], 9)
    book.look(reader, book.blocks[0])

    book.driver.feed(SessionClosed(reader))
    book.driver.answer_log()

    assert given(book.driver.take(reader)) == {}


@pytest.mark.heavy
def test_partitions_out_of_sight_for_long_are_lost():
    book = Book(2500)
    reader = book.join()
    stride = PARTITION_BLOCKS_MAX
    visits = [book.look(reader, book.blocks[at]) for at in range(0, len(book.blocks), stride)]

    gone = set().union(*[lost(messages) for messages in visits])
    assert len(visits) > VIEWPORT_PARTITIONS_KEPT
    assert book.blocks[0] in gone
    assert book.blocks[-1] not in gone
    book.set(book.blocks[0], 1)
    assert targets(book.driver.take(reader)) == []


@pytest.mark.heavy
def test_parts_of_what_was_divided_are_lost_with_word_of_it():
    """A session that saw more than is kept, since a partition was divided, lost some of it without a word."""
    book = Book()
    reader = book.join(book.blocks[-1])
    for _ in range(VIEWPORT_PARTITIONS_KEPT + 1):
        book.append(PARTITION_BLOCKS_MAX)

    messages = book.look(reader, book.blocks[-1])

    assert lost(messages)
    assert given(messages) == {}


def test_a_snapshot_begins_anew():
    book = Book()
    reader = book.join(book.blocks[0])
    book.driver.take(reader)

    effects = book.driver.send(reader, Resync())
    (read,) = [effect for effect in effects if isinstance(effect, ReadCatchUp)]
    assert read.is_partial
    book.driver.catch_up(effects, snapshot_part(read.head, b"", OpId(1, 1)))

    messages = book.driver.take(reader)
    assert messages[0].snapshot is not None
    assert book.blocks[0] in given(messages[1:])


def test_who_asks_for_too_much_is_told_to_wait():
    book = Book(limits=Limits(viewport_blocks_per_s=1, viewport_blocks_burst=100))
    reader = book.join()

    assert book.look(reader, book.blocks[0])[0].contents
    (message,) = book.look(reader, book.blocks[-1])

    assert [notice.code for notice in message.notices] == ["rate"]


def test_who_was_behind_is_given_anew_what_got_new_blocks():
    book = Book()
    reader = book.join(book.blocks[-1])
    book.driver.take(reader)
    book.driver.feed(SessionBlocked(reader))
    (made,) = book.append(1)
    book.set(made, 4)
    assert book.driver.take(reader) == []

    book.driver.feed(SessionDrained(reader))

    behind, contents = book.driver.take(reader)
    assert behind.through == book.driver.head
    assert [stored.last_seq for stored in behind.ops] == [book.driver.head - 1, book.driver.head], "not filtered"
    assert given([contents])[made] == {"level": 4}


def test_a_document_that_is_made_while_somebody_looks_is_given_to_its_author():
    """It was noted under the name of its operation, which no partition has, and the room failed."""
    book = Book()
    reader = book.join(book.blocks[0])
    book.driver.take(reader)

    book.driver.submit(reader, envelope(1, NewDocument(ROOT, "other"), base=book.driver.head))

    messages = book.driver.take(reader)
    assert document_id("other") in given(messages)
    assert not any(message.bye for message in messages)


def test_a_room_without_documents_has_nothing_to_look_at():
    driver = Driver()
    reader, writer = driver.join(), driver.join("bob")
    driver.send(reader, Viewport((OpId(5, 5),)))

    driver.submit(writer, envelope(1))

    message = driver.take(reader)[-1]
    assert (targets([message]), message.through, message.contents) == ([ROOT], 1, ())


def test_purged_blocks_are_let_go_of_and_who_looks_beside_them_is_given_the_rest():
    book = Book()
    reader = book.join(book.blocks[0])
    gone = book.blocks[1:40]
    book.write(*[BlockDelete(block) for block in gone])
    book.driver.take(reader)
    driver = book.driver
    driver.feed(PurgeAsked((Purge(ROOT, tuple(gone)),), driver.room.head))
    driver.feed(KeepingAnswered(Keeping(1, 1, 1, driver.room.head, driver.now_ms + 60_000)))
    for _ in range(3):
        book.tick()
    assert driver.state.purged_seq == driver.room.head
    assert [op for op in targets(driver.take(reader)) if op == ROOT] == [ROOT], "it is everybody's"

    book.set(book.blocks[0], 7)
    assert targets(driver.take(reader)) == [book.blocks[0]]
    other = book.join(book.blocks[45])
    book.tick()
    contents = given(driver.take(other))
    assert book.blocks[45] in contents
    assert not contents.keys() & set(gone)
