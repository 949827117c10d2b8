"""Many who look elsewhere at once: each is given what he lacks, some in a turn, and nobody twice."""

from __future__ import annotations

import pytest

from collabkernel.crdt.ids import ROOT
from collabkernel.document.operations import BlockDelete, Purge
from collabkernel.room.effects import WakeAt
from collabkernel.room.events import (
    Event,
    FrameReceived,
    Keeping,
    KeepingAnswered,
    PurgeAsked,
    SessionBlocked,
    SessionDrained,
    Ticked,
)
from collabkernel.room.looks import LOOKS_AT_ONCE
from collabkernel.wire.codec import encode_client_message
from collabkernel.wire.messages import Viewport
from collabkernel.wire.room_state import decode_contents
from tests.room.book import Book

pytestmark = pytest.mark.core

READERS = 2 * LOOKS_AT_ONCE + 3


def crowd(count: int = READERS) -> tuple[Book, list[int]]:
    """Readers of the first block."""
    book = Book()
    readers = [book.join(book.blocks[0]) for _ in range(count)]
    for reader in readers:
        book.driver.take(reader)
    return book, readers


def looks_at_the_end(book: Book, readers: list[int]) -> list[Event]:
    frame = encode_client_message(Viewport((book.blocks[-1],)))
    return [FrameReceived(reader, frame) for reader in readers]


def given(book: Book, readers: list[int]) -> list[int]:
    """Those who got contents since they were last asked for, as often as they did."""
    return [reader for reader in readers for message in book.driver.take(reader) if message.contents]


def test_a_turn_serves_some_and_the_next_ones_the_others():
    book, readers = crowd()

    effects = book.driver.feed(*looks_at_the_end(book, readers))

    first, second, rest = readers[:LOOKS_AT_ONCE], readers[LOOKS_AT_ONCE : 2 * LOOKS_AT_ONCE], readers[-3:]
    assert given(book, readers) == first
    assert [effect for effect in effects if isinstance(effect, WakeAt)][-1].at_ms <= book.driver.now_ms
    book.driver.feed(Ticked())
    assert given(book, readers) == second
    book.driver.feed(Ticked())
    assert given(book, readers) == rest
    book.driver.feed(Ticked())
    assert given(book, readers) == []


def test_who_waits_is_before_those_who_come_later():
    book, readers = crowd()
    book.driver.feed(*looks_at_the_end(book, readers[1:]))
    given(book, readers)

    book.driver.feed(*looks_at_the_end(book, readers[:1]))
    served = given(book, readers)
    book.driver.feed(Ticked())

    assert readers[0] not in served
    assert readers[0] in given(book, readers)


def test_an_edit_meanwhile_reaches_those_who_wait_and_those_who_do_not():
    book, readers = crowd()
    book.driver.feed(*looks_at_the_end(book, readers))

    book.set(book.blocks[-1], 7)
    book.driver.feed(Ticked())

    for reader in readers:
        messages = book.driver.take(reader)
        (part,) = [part for message in messages for part in message.contents]
        (block,) = [block for block in decode_contents(part.blocks) if block.id == book.blocks[-1]]
        levels = [value for key, (_, value) in block.registers if key == "level"]
        edits = [stored for message in messages for stored in message.filtered]
        assert levels == [7] or edits, "he has it in the one or in the other"


def test_who_is_blocked_when_it_is_his_turn_is_served_when_he_is_not():
    book, readers = crowd()
    book.driver.feed(*looks_at_the_end(book, readers))
    given(book, readers)

    blocked = readers[-1]
    book.driver.feed(SessionBlocked(blocked))
    book.driver.feed(Ticked())
    book.driver.feed(Ticked())
    served = given(book, readers)
    book.driver.feed(SessionDrained(blocked))
    book.driver.feed(Ticked())

    assert blocked not in served
    assert given(book, readers) == [blocked]


def test_blocks_that_are_purged_and_not_yet_shown_so_are_given_to_nobody_who_waits():
    book, readers = crowd(8 * LOOKS_AT_ONCE)
    driver, (beside, gone) = book.driver, (book.blocks[290], book.blocks[291:320])
    book.write(*[BlockDelete(block) for block in gone])
    there = FrameReceived(readers[-1], encode_client_message(Viewport((beside,))))
    driver.feed(*looks_at_the_end(book, readers[:-1]), there)
    given(book, readers)
    driver.flush_ms = 100  # the purge is stored, and shown later

    driver.feed(PurgeAsked((Purge(ROOT, tuple(gone)),), driver.room.head))
    driver.feed(KeepingAnswered(Keeping(1, 1, 1, driver.room.head, driver.now_ms + 60_000)))
    assert driver.state.purged_seq, "it is judged"
    assert not given(book, readers[-1:])
    for _ in range(8):
        driver.feed(Ticked())

    (part,) = [part for message in driver.take(readers[-1]) for part in message.contents]
    found = {each.id for each in decode_contents(part.blocks)}
    assert beside in found
    assert not found & set(gone)
