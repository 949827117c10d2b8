"""Which envelopes are sent when, and when they leave the queue."""

from __future__ import annotations

import pytest

from collabkernel.client.pending import PendingQueue
from collabkernel.crdt.ids import ROOT
from collabkernel.document.operations import Envelope, MapDelete, MapSet

pytestmark = pytest.mark.core


def queue_of(*sizes: int, payload_bytes: int = 10) -> PendingQueue:
    queue = PendingQueue()
    for size in sizes:
        ops = tuple(MapDelete(ROOT, "k") for _ in range(size))
        queue.add(Envelope(queue.next_counter, 0, 1, ops), b"x" * payload_bytes)
    return queue


def taken(queue: PendingQueue, frame_bytes: int = 1000, ops_max: int = 100, now_ms: int = 0) -> list[list[int]]:
    groups = queue.take_to_send(frame_bytes, ops_max, now_ms)
    return [[entry.envelope.counter for entry in group] for group in groups]


def test_everything_is_sent_once():
    queue = queue_of(1, 2, 1)

    assert taken(queue) == [[1, 2, 4]]
    assert taken(queue) == []
    assert queue.is_all_sent


def test_frames_are_kept_within_their_limit():
    assert taken(queue_of(1, 1, 1, payload_bytes=40), frame_bytes=120) == [[1, 2], [3]]


def test_what_is_in_flight_is_bounded_and_acks_make_room():
    queue = queue_of(3, 3, 3)

    assert taken(queue, ops_max=6) == [[1, 4]]
    assert taken(queue, ops_max=6) == []
    queue.acknowledge(1, 10)
    assert taken(queue, ops_max=6) == [[7]]


def test_an_envelope_larger_than_the_window_goes_alone():
    assert taken(queue_of(50, 1), ops_max=10) == [[1]]


def test_a_refusal_for_now_sends_again_from_there_and_not_too_early():
    queue = queue_of(1, 1, 1)
    taken(queue)

    queue.go_back(2, at_ms=500)

    assert taken(queue, now_ms=499) == []
    assert taken(queue, now_ms=500) == [[2, 3]]


def test_a_new_connection_sends_what_is_unanswered():
    queue = queue_of(1, 1, 1)
    taken(queue)
    queue.acknowledge(1, 7)

    queue.start_over()

    assert taken(queue) == [[2, 3]]


def test_an_acknowledged_envelope_stays_until_it_is_confirmed():
    queue = queue_of(1, 1)
    queue.acknowledge(1, 7)

    assert len(queue) == 2
    assert queue.unanswered_count == 1
    assert queue.is_settled(1)
    assert not queue.is_settled(2)
    queue.confirm(1, 7)
    assert [entry.envelope.counter for entry in queue] == [2]


def test_a_snapshot_confirms_what_it_holds():
    queue = queue_of(1, 1, 1)
    queue.acknowledge(1, 7)
    queue.acknowledge(2, 8)

    queue.confirm_through(7)

    assert [entry.envelope.counter for entry in queue] == [2, 3]


def test_confirmation_may_come_before_the_answer():
    queue = queue_of(1)

    assert queue.confirm(1, 7) is not None
    assert queue.acknowledge(1, 7) is None
    assert queue.unanswered_count == 0


def test_a_final_refusal_takes_one_envelope_out():
    queue = queue_of(1, 1)
    taken(queue)

    assert queue.refuse(1) is not None
    assert queue.refuse(1) is None
    assert [entry.envelope.counter for entry in queue] == [2]
    assert 1 not in queue


def test_what_is_left_of_a_site_that_is_taken_no_further_was_not_stored():
    queue = PendingQueue()
    for counter in (1, 2, 3):
        queue.add(Envelope(counter, 0, 1, (MapSet(ROOT, "k", counter),)), b"")

    assert [entry.is_untaken for entry in queue.left()] == [False] * 3
    queue.note_taken(2, 7)

    assert [(entry.envelope.counter, entry.is_untaken) for entry in queue.left()] == [(2, True), (3, True)]
    assert [entry.acked_seq for entry in queue] == [7, None, None]
