"""Squashing: the same document in less, or nothing is squashed."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Doc, Text, merge_updates

import collabkernel.crdt.yjs.squash as yjs_squash
from collabkernel.crdt.yjs.policy import FILE_POLICY, NOTEBOOK_POLICY
from collabkernel.crdt.yjs.squash import squash
from collabkernel.errors import InvalidYjsUpdateError
from tests.crdt.yjs.notebook_replica import NotebookReplica

pytestmark = pytest.mark.core


def churn(count: int, size: int) -> list[bytes]:
    """Text put in and taken out again in a text of 100 letters."""
    doc: Doc[Any] = Doc(client_id=7)
    text = doc.get("source", type=Text)
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    text.insert(0, "x" * 100)
    for _ in range(count):
        text.insert(50, "y" * size)
        del text[50 : 50 + size]
    doc.unobserve(subscription)
    return updates


def test_what_was_deleted_is_gone():
    updates = churn(100, 10_000)

    state = squash(FILE_POLICY, updates[0], updates[1:])

    assert sum(map(len, updates)) > 1_000_000
    assert len(state) < 200
    doc: Doc[Any] = Doc()
    doc.apply_update(state)
    assert str(doc.get("source", type=Text)) == "x" * 100


@pytest.mark.heavy
@settings(max_examples=20)
@given(rng=st.randoms(use_true_random=False))
def test_a_squashed_notebook_goes_on_where_it_was(rng: random.Random):
    ann, bob = NotebookReplica(1), NotebookReplica(2**50)
    log: list[bytes] = []
    for _ in range(20):
        author, other = rng.sample((ann, bob), 2)
        if (update := author.edit(rng)) is not None:
            log.append(update)
            other.doc.apply_update(update)
    cut = rng.randint(0, len(log))

    twin = NotebookReplica(3)
    twin.doc.apply_update(squash(NOTEBOOK_POLICY, squash(NOTEBOOK_POLICY, b"", log[:cut]), log[cut:]))

    assert twin.to_py() == ann.to_py()
    if (update := bob.edit(rng)) is not None:
        twin.doc.apply_update(update)
        ann.doc.apply_update(update)
    assert twin.to_py() == ann.to_py()


def test_a_hole_in_the_history_is_noticed():
    updates = churn(2, 3)

    with pytest.raises(InvalidYjsUpdateError):
        squash(FILE_POLICY, b"", updates[1:])


@pytest.mark.interpreted
@pytest.mark.parametrize("lost", ["contents", "deletes", "state vector"])
def test_a_lossy_encoder_is_noticed(lost: str, monkeypatch: pytest.MonkeyPatch):
    updates = churn(2, 3)
    other = {
        "contents": updates[0].replace(b"x" * 100, b"z" * 100)[:-1] + b"\x00",
        "deletes": merge_updates(*updates[:1], updates[1], updates[3])[:-1] + b"\x00",
        "state vector": b"\x00\x00",
    }[lost]
    real = yjs_squash.apply_all
    docs: list[Doc[Any]] = []

    def lossy(doc: Doc[Any], batch: list[bytes]) -> None:
        docs.append(doc)
        real(doc, batch if doc is docs[0] else [other])

    monkeypatch.setattr(yjs_squash, "apply_all", lossy)
    with pytest.raises(InvalidYjsUpdateError, match=f"the squashed state .* {lost}"):
        squash(FILE_POLICY, updates[0], updates[1:] if lost == "deletes" else [])
