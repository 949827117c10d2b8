"""The plan of an append."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.storage.append import (
    AppendPlan,
    RoomHead,
    SiteHead,
    answer_from_log,
    is_storable_text,
    plan_append,
    storable_refusal,
)
from collabkernel.storage.base import Appended, AppendRequest, NotAppended, OpRow, Refusal
from tests.examples import examples

pytestmark = pytest.mark.core


class Log:
    """The simplest storage: it carries out plans."""

    def __init__(self) -> None:
        self.rooms = {"plan": RoomHead(0, 0), "notes": RoomHead(40, 7)}
        self.sites = {(room, site): SiteHead(1, 0, False) for room in self.rooms for site in (1, 2)}
        self.rows: dict[str, list[OpRow]] = {"plan": [], "notes": []}

    def append(self, batch: Sequence[AppendRequest]) -> list[Appended | NotAppended]:
        plan = plan_append(batch, self.rooms, self.sites)
        for i, last_counter in plan.unanswered.items():
            plan.answers[i] = answer_from_log(batch[i], self._find(batch[i]), last_counter)
        self._carry_out(plan)
        return [answer for answer in plan.answers if answer is not None]

    def _find(self, request: AppendRequest) -> Appended | None:
        for row in self.rows[request.room_id]:
            if (row.site, row.counter) == (request.site, request.counter):
                return Appended(row.seq, row.hlc)
        return None

    def _carry_out(self, plan: AppendPlan) -> None:
        self.rooms.update(plan.heads)
        for room_id, rows in plan.rows.items():
            self.rows[room_id] += rows
            for row in rows:
                self.sites[room_id, row.site] = SiteHead(1, row.counter, False)


requests = st.builds(
    AppendRequest,
    room_id=st.sampled_from(["plan", "notes", "gone"]),
    site=st.sampled_from([1, 2, 3]),
    epoch=st.sampled_from([1, 1, 1, 1, 2]),
    counter=st.integers(0, 8),
    base=st.just(0),
    hlc=st.integers(0, 100),
    actor=st.just("ann"),
    ops=st.lists(st.just((1, b"op")), max_size=3).map(tuple),
)


_TWO = AppendRequest("plan", 1, 1, 1, 0, 0, "ann", ((1, b"op"), (1, b"op")))


def test_a_counter_inside_an_envelope_of_the_same_batch_is_answered_as_from_the_log():
    inside = replace(_TWO, counter=2, ops=((1, b"op"),))

    assert Log().append([_TWO, inside]) == [Appended(1, 0), Appended(2, 1, duplicate=True)]


def test_a_resend_of_what_is_in_the_log_and_in_the_same_batch_is_known():
    log, third = Log(), replace(_TWO, counter=3, ops=((1, b"op"),))
    log.append([_TWO])

    assert log.append([third, replace(_TWO, ops=(*_TWO.ops, *third.ops))])[1] == Appended(1, 0, duplicate=True)


@examples(150)
@given(st.lists(requests, max_size=25), st.data())
def test_a_batch_gives_what_its_envelopes_give_one_by_one(batch: list[AppendRequest], data: st.DataObject):
    one_by_one, cut = Log(), Log()
    at = data.draw(st.integers(0, len(batch)))

    expected = [answer for request in batch for answer in one_by_one.append([request])]

    assert cut.append(batch[:at]) + cut.append(batch[at:]) == expected
    assert (cut.rows, cut.rooms, cut.sites) == (one_by_one.rows, one_by_one.rooms, one_by_one.sites)


@examples(100)
@given(st.lists(requests, max_size=25))
def test_seqs_and_counters_have_no_gaps(batch: list[AppendRequest]):
    log = Log()
    log.append(batch)

    for room_id, first_seq in (("plan", 1), ("notes", 41)):
        rows = log.rows[room_id]
        assert [row.seq for row in rows] == list(range(first_seq, first_seq + len(rows)))
        for site in (1, 2):
            counters = [row.counter for row in rows if row.site == site]
            assert counters == list(range(1, len(counters) + 1))


def test_a_closed_site_is_fenced():
    request = AppendRequest("plan", 1, 1, 1, 0, 0, "ann", ((1, b""),))

    plan = plan_append([request], {"plan": RoomHead(0, 0)}, {("plan", 1): SiteHead(1, 0, closed=True)})

    assert plan.answers == [NotAppended("fenced", "site 1 is closed")]
    assert plan.heads == plan.rows == {}


def test_a_fence_names_both_epochs():
    request = AppendRequest("plan", 1, 1, 1, 0, 0, "ann", ((1, b""),))

    plan = plan_append([request], {"plan": RoomHead(0, 0)}, {("plan", 1): SiteHead(4, 0, closed=False)})

    assert isinstance(plan.answers[0], NotAppended)
    assert "epoch 1, stored 4" in plan.answers[0].reason


@pytest.mark.parametrize("text", ["", "ann", "é", "\U0001f600", "\ud7ff\ue000"])
def test_text_is_storable(text: str):
    assert is_storable_text(text)


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "é\udfff"])
def test_nul_and_lone_surrogates_are_not_storable(text: str):
    assert not is_storable_text(text)
    assert is_storable_text(storable_refusal(Refusal(1, 1, "rate", text)).reason)
