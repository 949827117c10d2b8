"""Many editors of one document: ours beside the best of the field."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rich.console import Console

from tests.benchmarks import editors_peers, editors_plot, editors_seed
from tests.benchmarks.report import Row

PARTS: dict[str, Callable[..., list[Row]]] = {
    name: partial(editors_peers.part_rows, name) for name in ("yjs", "presence", "join", "crash")
}
ALONE: dict[str, Callable[[bool], list[Row]]] = {
    "seed": editors_seed.rows,
    "flat": editors_seed.flat_rows,
    "idle": editors_seed.idle_rows,
    "disturbed": editors_seed.disturbed_rows,
}
"""Parts over our own protocol, which no other server speaks."""


def rows(console: Console, *, is_quick: bool = False, only: str = "") -> list[Row]:
    """Every figure of the parts that ``only`` names, as ``PART`` or ``PART/CASE/SYSTEM``; plots go to docs/images."""
    part, _, rest = only.partition("/")
    found: list[Row] = []
    for name, measure in PARTS.items():
        if part in name:
            found += measure(console, is_quick=is_quick, only=rest)
    for name, measure_alone in ALONE.items():
        if part in name:
            with console.status(name):
                found += measure_alone(is_quick)
    if not rest:
        editors_plot.write(found)
    return found
