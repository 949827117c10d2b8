"""Many editors of one document: ours beside the best of the field."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rich.console import Console

from tests.benchmarks import editors_peers, editors_plot
from tests.benchmarks.report import Row

PARTS: dict[str, Callable[..., list[Row]]] = {
    name: partial(editors_peers.part_rows, name) for name in ("yjs", "presence", "join", "crash")
}


def rows(console: Console, *, is_quick: bool = False, only: str = "") -> list[Row]:
    """Every figure of the parts that ``only`` names, as ``PART`` or ``PART/CASE/SYSTEM``; plots go to docs/images."""
    part, _, rest = only.partition("/")
    found: list[Row] = []
    for name, measure in PARTS.items():
        if part in name:
            found += measure(console, is_quick=is_quick, only=rest)
    if not rest:
        editors_plot.write(found)
    return found
