"""What differs between two states; client/test_doc_diff.py sees it on documents."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collabkernel.document.block_diff import diff, rising
from collabkernel.document.block_document import BlockDocument
from collabkernel.document.operations import document_id

pytestmark = pytest.mark.core


@given(st.lists(st.integers(0, 99), unique=True, max_size=8))
def test_as_few_as_can_be_are_left_out_of_what_rises(numbers: list[int]) -> None:
    found = [numbers[i] for i in sorted(rising(numbers))]
    assert found == sorted(found)
    longest = max(
        size for size in range(len(numbers) + 1) for part in combinations(numbers, size) if list(part) == sorted(part)
    )
    assert len(found) == longest


def test_documents_that_are_not_there_do_not_differ() -> None:
    assert not diff(BlockDocument(), BlockDocument(), document_id("body"))
