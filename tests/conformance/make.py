"""Writes vectors.json beside itself: rooms in which every replica, in every language, must come to the same state.

    python -m tests.conformance.make

Each vector is ``{name, frames, orders, state, snapshot}``:

- ``frames``: hex of one server frame an envelope of the log, in seq order, each an ``Ops`` of one stored envelope;
- ``orders``: lists of indexes into ``frames``, some more than once: orders of delivery that keep causality;
- ``state``: the room as plain JSON after each of these orders;
- ``snapshot``: hex of a ``RoomState`` that decodes to that state.

Made from seeds, but not made anew in the tests: another yrs may encode the same text edits to other bytes.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from collabkernel.document.live_tree import LiveTree
from collabkernel.document.operations import ContainerKind
from collabkernel.wire import frames
from collabkernel.wire.state import encode_state
from tests.conformance.histories import History, apply, causal_order

OBJECT, MAP, LIST, TEXT = ContainerKind

RECIPES: list[tuple[str, int, list[ContainerKind], int, float, float]] = [
    ("scalars in the root", 1, [], 40, 0.0, 0.0),
    ("nested maps and objects", 2, [MAP, OBJECT], 60, 0.3, 0.0),
    ("shared containers at few keys", 3, [MAP, OBJECT, LIST], 60, 1.0, 0.0),
    ("one list", 4, [LIST], 60, 1.0, 0.0),
    ("lists with moves, sets and deletes", 5, [LIST], 120, 0.2, 0.0),
    ("lists of lists", 6, [LIST, LIST, MAP], 90, 0.1, 0.0),
    ("one text", 7, [TEXT], 50, 1.0, 0.0),
    ("texts", 8, [TEXT], 70, 0.5, 0.0),
    ("everything", 9, [OBJECT, MAP, LIST, TEXT], 100, 0.3, 0.0),
    ("everything, longer", 10, [OBJECT, MAP, LIST, TEXT], 200, 0.3, 0.0),
    ("purges of keys", 11, [MAP, OBJECT], 120, 0.2, 0.15),
    ("purges of a list", 12, [LIST], 160, 1.0, 0.15),
    ("purges of everything", 13, [OBJECT, MAP, LIST, TEXT], 250, 0.2, 0.15),
]


def vector(
    name: str, seed: int, kinds: list[ContainerKind], steps: int, shared: float, purges: float
) -> dict[str, Any]:
    """One entry of vectors.json."""
    log = History(seed, kinds, shared, purges).run(steps)
    tree = LiveTree()
    for stored in log:
        apply(tree, stored)
    rng = random.Random(seed)
    orders = [list(range(len(log)))] + [causal_order(log, rng, doubled) for doubled in (0.0, 0.3)]
    hlc = max(stored.envelope.hlc + len(stored.envelope.ops) - 1 for stored in log)
    return {
        "name": name,
        "frames": [frames.ops_part([stored]).hex() for stored in log],
        "orders": orders,
        "state": tree.to_json(),
        "snapshot": encode_state(tree, log[-1].last_seq, hlc).hex(),
    }


def main(here: Path = Path(__file__).parent) -> None:
    """Write the file, one vector a line."""
    lines = ",\n".join(json.dumps(vector(*recipe), ensure_ascii=False) for recipe in RECIPES)
    (here / "vectors.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
