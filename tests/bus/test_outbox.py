"""What waits to be published is bounded, and what is lost of it is told."""

from __future__ import annotations

from collabkernel.bus.outbox import GAP, MESSAGE_BYTES_MAX, OUTBOX_BYTES_MAX, OUTBOX_MESSAGES_MAX, Outbox


def test_messages_leave_in_order_and_in_batches() -> None:
    outbox = Outbox()
    assert not outbox
    messages = [("plan", b"a"), ("notes", b"b"), ("plan", b"c")]
    for room_id, message in messages:
        outbox.put(room_id, message)

    assert outbox.take(2) == messages[:2]
    assert outbox
    assert outbox.take(2) == messages[2:]
    assert not outbox
    assert outbox.take(2) == []


def test_a_full_outbox_becomes_one_gap_a_room() -> None:
    outbox = Outbox()
    for number in range(OUTBOX_MESSAGES_MAX):
        outbox.put("plan" if number % 2 else "notes", b"x")
    outbox.put("board", b"one too many")
    outbox.put("board", b"another")

    assert sorted(outbox.take(10)) == [("board", GAP), ("notes", GAP), ("plan", GAP)]
    outbox.put("board", b"after")
    assert outbox.take(10) == [("board", b"after")]


def test_bytes_are_bounded_too() -> None:
    outbox = Outbox()
    piece = bytes(MESSAGE_BYTES_MAX)
    for _ in range(OUTBOX_BYTES_MAX // MESSAGE_BYTES_MAX):
        outbox.put("plan", piece)
    outbox.put("plan", b"x")
    assert outbox.take(10) == [("plan", GAP)]
    outbox.put("plan", piece)
    assert outbox.take(10) == [("plan", piece)], "what was lost is not counted any more"


def test_a_large_message_is_told_as_a_gap_with_what_waits_of_its_room() -> None:
    outbox = Outbox()
    outbox.put("notes", b"a")
    outbox.put("plan", b"b")
    outbox.put("plan", bytes(MESSAGE_BYTES_MAX + 1))
    assert outbox.take(10) == [("plan", GAP), ("notes", b"a")]


def test_gaps_go_first_however_small_the_batches() -> None:
    outbox = Outbox()
    for room_id in ("a", "b"):
        outbox.put(room_id, b"1")
    outbox.lose_all()
    outbox.put("c", b"2")
    outbox.put("a", b"part of its gap")
    assert [outbox.take(1) for _ in range(4)] == [[("a", GAP)], [("b", GAP)], [("c", b"2")], []]


def test_what_did_not_get_through_is_a_gap_and_what_waits_behind_it_too() -> None:
    outbox = Outbox()
    for message in (b"1", b"2", b"3"):
        outbox.put("plan", message)
    outbox.put("notes", b"4")
    outbox.lose(outbox.take(1))
    assert outbox.take(10) == [("plan", GAP), ("notes", b"4")]
