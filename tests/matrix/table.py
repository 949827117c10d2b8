"""The table in docs/MATRIX.md: what each system made of each scenario, written by ``python -m tests.matrix``."""

from __future__ import annotations

from pathlib import Path

from tests.matrix import automerge, loro_tree, ours, yjs, yjs_text
from tests.matrix.scenarios import ORDERS, SCENARIOS, cell

PAGE = Path(__file__).parents[2] / "docs" / "MATRIX.md"
BEGIN, END = "<!-- the table: python -m tests.matrix -->\n", "<!-- end of the table -->"
HERE = (ours, yjs, yjs_text, loro_tree)
"""Those that run in this process."""
NAMES = (ours.NAME, yjs.NAME, yjs_text.NAME, automerge.NAME, loro_tree.NAME)
"""In the order of the columns."""


def observed_here() -> dict[str, list[str]]:
    """Cells by system, of those that run in this process."""
    return {
        system.NAME: [cell(scenario, [system.outcome(scenario, order) for order in ORDERS]) for scenario in SCENARIOS]
        for system in HERE
    }


def observed_in_node() -> dict[str, list[str]]:
    """Cells of Automerge, which is installed when it is not there."""
    return {automerge.NAME: [cell(*each) for each in zip(SCENARIOS, automerge.outcomes(), strict=True)]}


def rendered(cells: dict[str, list[str]]) -> str:
    """The table."""
    lines = [["", *NAMES], ["---"] * (1 + len(NAMES))]
    lines += [[scenario.name, *[cells[name][i] for name in NAMES]] for i, scenario in enumerate(SCENARIOS)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def told() -> dict[str, list[str]]:
    """Cells by system, as the page has them."""
    table = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    head, _, *rows = [[each.strip() for each in line.strip("|").split(" | ")] for line in table.splitlines()]
    assert [row[0] for row in rows] == [scenario.name for scenario in SCENARIOS]
    return {name: [row[i] for row in rows] for i, name in enumerate(head) if i}


def write() -> None:
    """Observe all, and put the table into the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    table = rendered({**observed_here(), **observed_in_node()})
    PAGE.write_text(before + BEGIN + table + END + rest.partition(END)[2])
