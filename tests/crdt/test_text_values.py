"""What callers may put into a rope."""

from __future__ import annotations

from typing import Any

import pytest

from collabkernel.crdt.text_values import checked_attributes, utf8_length
from collabkernel.crdt.yjs.policy import TEXT_POLICY
from collabkernel.errors import InvalidValueError

pytestmark = pytest.mark.core


def test_a_text_is_measured_in_bytes():
    assert utf8_length("aä😀") == 7


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(InvalidValueError):
        utf8_length("\ud800")


def test_attributes_are_copied():
    given = {"bold": True, "link": {"href": "https://example.org"}}

    checked = checked_attributes(given, TEXT_POLICY)

    assert checked == given
    assert checked is not given


@pytest.mark.parametrize(
    "attributes", [{"": 1}, {"k" * 65: 1}, {"a": object()}, {"a": float("nan")}, {"a": "x" * 5000}, {"a": 2**53}]
)
def test_attributes_that_others_cannot_read_are_refused(attributes: dict[str, Any]):
    with pytest.raises(InvalidValueError):
        checked_attributes(attributes, TEXT_POLICY)
