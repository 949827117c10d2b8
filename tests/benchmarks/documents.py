"""Block documents: what the move tree and the texts cost, what opening a long one does, and what deleting leaves."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from tests.benchmarks import open_cost, purge_cost, text_cost, tree_cost
from tests.benchmarks.report import Row

PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "tree": tree_cost.rows,
    "text": text_cost.rows,
    "open": open_cost.rows,
    "worked": open_cost.worked_rows,
    "purge": purge_cost.rows,
}


def rows(console: Console, *, is_quick: bool = False, only: str = "") -> list[Row]:
    """Every figure of this benchmark whose part's name holds ``only``."""
    found: list[Row] = []
    for name, part in PARTS.items():
        if only in name:
            with console.status(name):
                found += part(is_quick)
    return found
