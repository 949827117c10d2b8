"""Policies: which documents are flat, and what may be where."""

from __future__ import annotations

from collabkernel.crdt.yjs_policy import (
    ANY,
    ARRAY,
    DELETED,
    EMBED,
    FORMAT,
    JSON,
    JUPYTER_POLICY,
    MAP,
    SKIP,
    STRING,
    TEXT,
    TEXT_POLICY,
    TYPE,
)


def test_a_live_text_is_flat_and_holds_text_alone():
    assert TEXT_POLICY.is_flat
    assert TEXT_POLICY.allowed(TEXT) == TEXT_POLICY.allowed(None) == {DELETED, STRING, EMBED, FORMAT}


def test_a_notebook_is_nested():
    assert not JUPYTER_POLICY.is_flat
    assert {ANY, TYPE} <= JUPYTER_POLICY.allowed(ARRAY) == JUPYTER_POLICY.allowed(MAP)
    assert ANY not in JUPYTER_POLICY.allowed(TEXT)


def test_nobody_allows_what_implementations_read_differently():
    for policy in (TEXT_POLICY, JUPYTER_POLICY):
        assert not {JSON, SKIP} & policy.allowed(None)
