"""A JupyterLab client in the tests: nested shared types in a plain pycrdt document."""

from __future__ import annotations

import random
from typing import Any

from pycrdt import Array, Doc, Map, Text

WORDS = ("a", "bc", "ä", "漢字", "😀", "x😀y", "\n")


class NotebookReplica:
    """Edits at random what a notebook holds; each transaction is one update."""

    def __init__(self, client: int) -> None:
        self.client = client
        self.doc: Doc[Any] = Doc(client_id=client)
        self.cells: Array[Any] = self.doc.get("cells", type=Array)
        self.meta: Map[Any] = self.doc.get("meta", type=Map)
        self.state: Map[Any] = self.doc.get("state", type=Map)

    def edit(self, rng: random.Random) -> bytes | None:
        """The update of a few edits; None if nothing changed."""
        updates: list[bytes] = []
        # For as long as somebody observes it, nobody collects a document.
        subscription = self.doc.observe(lambda event: updates.append(event.update))
        try:
            with self.doc.transaction():
                for _ in range(rng.randint(1, 3)):
                    self._edit_once(rng)
        finally:
            self.doc.unobserve(subscription)
        return updates[0] if updates else None

    def to_py(self) -> dict[str, Any]:
        return {"cells": self.cells.to_py(), "meta": self.meta.to_py(), "state": self.state.to_py()}

    def _edit_once(self, rng: random.Random) -> None:
        count = len(self.cells)
        at = rng.randrange(count) if count else 0
        match rng.randrange(8):
            case 0 if count:
                del self.cells[at]
            case 1 | 2 if (source := self._child(at, "source", Text)) is not None:
                self._type(rng, source)
            case 3 if (metadata := self._child(at, "metadata", Map)) is not None:
                metadata["tags"] = rng.choice((1.0, None, ["x", {"y": 0.5}], "ä"))
            case 4 if (outputs := self._child(at, "outputs", Array)) is not None:
                if len(outputs) and rng.random() < 0.5:
                    outputs.clear()
                else:
                    outputs.append(Map({"output_type": "stream", "text": Text("out\n")}))
            case 5:
                self.meta[rng.choice(("a", "b"))] = rng.choice((1.0, "x", b"raw", Map({"in": Array([1.0, 2.0])})))
            case 6:
                self.state["dirty"] = rng.random() < 0.5
            case _:
                cell = Map({"source": Text("x"), "metadata": Map({"n": 1.0}), "outputs": Array([])})
                self.cells.insert(at, cell)

    def _child(self, at: int, key: str, kind: type[Any]) -> Any:
        """A part of a cell; None if somebody hostile has put something else there."""
        cell = self.cells[at] if len(self.cells) else None
        if not isinstance(cell, Map) or key not in cell or not isinstance(cell[key], kind):
            return None
        return cell[key]

    def _type(self, rng: random.Random, source: Text) -> None:
        runs = [run for run, _ in source.diff()]
        if not all(isinstance(run, str) for run in runs):
            return  # an embed, whose place a str does not tell
        signs = [len(sign.encode()) for sign in "".join(runs)]
        index = rng.randint(0, len(signs))
        at = sum(signs[:index])
        if index < len(signs) and rng.random() < 0.3:
            del source[at : at + signs[index]]
        else:
            source.insert(at, rng.choice(WORDS))
