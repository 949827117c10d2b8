"""Policies: what may be where."""

from __future__ import annotations

import pytest

from collabkernel.crdt.yjs.policy import (
    ANY,
    ARRAY,
    DELETED,
    EMBED,
    FORMAT,
    JSON,
    MAP,
    NOTEBOOK_POLICY,
    POLICY_BY_TYPE,
    SKIP,
    STRING,
    TEXT,
    TEXT_POLICY,
    TYPE,
    policy_of_roots,
)
from collabkernel.errors import InvalidValueError


def test_a_live_text_holds_text_alone():
    assert TEXT_POLICY.contents[TEXT] == TEXT_POLICY.kinds == {DELETED, STRING, EMBED, FORMAT}


def test_a_notebook_is_nested():
    assert {ANY, TYPE} <= NOTEBOOK_POLICY.contents[ARRAY] == NOTEBOOK_POLICY.contents[MAP]
    assert ANY not in NOTEBOOK_POLICY.contents[TEXT]


def test_every_document_has_a_state():
    assert {policy.roots["state"] for policy in POLICY_BY_TYPE.values()} == {MAP}


def test_nobody_allows_what_implementations_read_differently():
    for policy in (TEXT_POLICY, *POLICY_BY_TYPE.values()):
        assert not {JSON, SKIP} & policy.kinds


@pytest.mark.parametrize("roots", [{}, {"xml": 4}, {"state": MAP, "x": 7}])
def test_roots_are_arrays_maps_and_texts(roots: dict[str, int]):
    with pytest.raises(InvalidValueError):
        policy_of_roots(roots)
