"""What real Yjs clients send is let in, step by step, and makes the content that they have."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text

from collabkernel.crdt.yjs.document import YDocument
from collabkernel.crdt.yjs.policy import ARRAY, MAP, POLICY_BY_TYPE, TEXT
from collabkernel.crdt.yjs.structs import NOTHING

HISTORIES = json.loads((Path(__file__).parents[2] / "fixtures/yjs/clients.json").read_text())["histories"]
TYPES: dict[int, type[Any]] = {ARRAY: Array, MAP: Map, TEXT: Text}

pytestmark = pytest.mark.core


def content(document: YDocument) -> dict[str, Any]:
    doc: Doc[Any] = Doc()
    doc.apply_update(document.encode_state())
    shared = {root: doc.get(root, type=TYPES[kind]) for root, kind in document.policy.roots.items()}
    return {root: str(value) if isinstance(value, Text) else as_json(value.to_py()) for root, value in shared.items()}


def as_json(value: Any) -> Any:
    """As JavaScript writes it: NaN is null."""
    if isinstance(value, dict):
        return {key: as_json(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [as_json(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value


@pytest.mark.parametrize("history", HISTORIES, ids=lambda history: history["name"])
def test_what_real_clients_send_is_let_in(history: dict[str, Any]):
    document = YDocument(POLICY_BY_TYPE[history["kind"]], 2)
    stored = []
    for step in history["steps"]:
        change = document.check(bytes.fromhex(step))
        document.apply(change)
        if change.is_new:
            stored.append(change.update)
        assert document.check(bytes.fromhex(step)).update == NOTHING, "what was applied is known"

    twin = YDocument(document.policy, 3)
    twin.apply_stored(stored)
    reloaded = YDocument(document.policy, 4, document.encode_state())
    assert content(document) == content(twin) == content(reloaded) == history["content"]
