"""What is told of an edit that was not taken: in few words, once a page, and who is kept out."""

from __future__ import annotations

import pytest

from collabkernel.errors import (
    CollabKernelError,
    ForeignClientError,
    InvalidYjsUpdateError,
    ReadOnlyError,
    SplitPairError,
    TooLargeError,
    YjsGapError,
)
from collabkernel.room.stale_pages import PAGES_MAX, REASON_BYTES_MAX, StalePages, is_hostile, reason_of

pytestmark = pytest.mark.core

REFUSALS: list[CollabKernelError] = [
    ReadOnlyError("x"),
    ForeignClientError("x"),
    SplitPairError("x"),
    InvalidYjsUpdateError("x"),
    TooLargeError("document", 2, 1),
    CollabKernelError("x"),
]


def test_a_page_is_told_once_and_the_next_load_of_it_again():
    pages = StalePages()

    assert pages.tell("ann", 1)
    assert not pages.tell("ann", 1)
    assert pages.tell("bob", 1)
    assert pages.tell("ann", 2)
    assert pages.is_told("ann", 1)
    assert not pages.is_told("ann", None)


def test_only_so_many_pages_are_remembered():
    pages = StalePages()
    for client in range(PAGES_MAX + 1):
        pages.tell("ann", client)

    assert not pages.is_told("ann", 0)
    assert pages.is_told("ann", 1)


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: error.code)
def test_every_refusal_is_told_in_a_sentence_that_a_close_frame_holds(error: CollabKernelError):
    reason = reason_of(error)

    assert reason.isascii()
    assert len(reason) <= REASON_BYTES_MAX
    assert "Reload" in reason


def test_only_what_no_page_sends_is_hostile():
    assert [error.code for error in REFUSALS if is_hostile(error)] == ["invalid-yjs-update"]
    assert is_hostile(YjsGapError("a gap that is refused for good"))
