"""The vectors hold for the Python replica; widgets/ts/tests holds the TypeScript one to the same file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from collabkernel.document.live_tree import LiveTree
from collabkernel.document.operations import StoredEnvelope
from collabkernel.limits import Limits
from collabkernel.wire.codec import decode_server_message
from collabkernel.wire.state import decode_state, encode_state
from tests.conformance.histories import History, apply, causal_order
from tests.conformance.make import RECIPES
from tests.examples import seeds

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text(encoding="utf-8"))


def _named(vector: dict[str, Any]) -> str:
    return str(vector["name"])


def _log(vector: dict[str, Any]) -> list[StoredEnvelope]:
    return [
        stored for frame in vector["frames"] for stored in decode_server_message(bytes.fromhex(frame), Limits()).ops
    ]


@pytest.mark.parametrize("vector", VECTORS, ids=_named)
def test_every_order_comes_to_the_same_state(vector: dict[str, Any]):
    log = _log(vector)

    for order in vector["orders"]:
        tree = LiveTree()
        for i in order:
            apply(tree, log[i])
        assert tree.to_json() == vector["state"]


@pytest.mark.parametrize("vector", VECTORS, ids=_named)
def test_snapshot_is_the_same_state(vector: dict[str, Any]):
    data = bytes.fromhex(vector["snapshot"])

    tree, seq, hlc = decode_state(data, None)

    assert tree.to_json() == vector["state"]
    assert seq == _log(vector)[-1].last_seq
    assert encode_state(tree, seq, hlc) == data


@pytest.mark.parametrize("vector", VECTORS, ids=_named)
def test_snapshot_in_the_middle_and_the_rest_come_to_the_same_state(vector: dict[str, Any]):
    log = _log(vector)
    middle = len(log) // 2
    tree = LiveTree()
    for stored in log[:middle]:
        apply(tree, stored)

    again, _, _ = decode_state(encode_state(tree, middle, 0), 5)
    for stored in log[middle:]:
        apply(again, stored)

    assert again.to_json() == vector["state"]


@pytest.mark.parametrize("seed", seeds(range(100, 113)))
def test_new_histories_converge_too(seed: int):
    _, _, kinds, _, shared, purges = RECIPES[seed % len(RECIPES)]
    history = History(seed, kinds, shared, purges)
    log = history.run(60)
    states = set()
    for _ in range(3):
        tree = LiveTree()
        for i in causal_order(log, history.rng, doubled=0.2):
            apply(tree, log[i])
        states.add(json.dumps(tree.to_json(), sort_keys=True))

    assert len(states) == 1


def test_vectors_hold_every_kind_of_operation():
    seen = {type(op).__name__ for vector in VECTORS for stored in _log(vector) for op in stored.envelope.ops}

    assert seen == {"MapSet", "MapDelete", "ListInsert", "ListDelete", "ListMove", "ListSet", "TextEdit", "Purge"}
