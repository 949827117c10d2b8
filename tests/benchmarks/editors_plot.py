"""The figures of many editors as plots in docs/images: who sees an edit how late, and what showing it costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.report import Row

IMAGES = Path("docs/images")
PANELS = {
    "visible_p95": "p95 of sent to seen, ms",
    "cpu_per_delivery": "processor time of the server a delivery, µs",
}
TITLES = {
    "yjs": "One Yjs document: clients x edits a second",
    "presence": "Cursors at 1 Hz, all in view: clients",
}
MARKERS = "os^vDPX*"


def write(rows: Sequence[Row], folder: Path = IMAGES) -> list[Path]:
    """Draw the parts that there are rows of; a system that did not finish a case has no point there."""
    return [_draw(part, own, folder) for part in TITLES if (own := [row for row in rows if _place(row)[0] == part])]


def points(rows: Sequence[Row], figure: str) -> dict[str, dict[str, float]]:
    """By system and case, the values of one figure."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        _, case, name = _place(row)
        if name == figure:
            found.setdefault(row["system"], {})[case] = row["value"]
    return found


def _place(row: Row) -> tuple[str, str, str]:
    """Part, case and figure."""
    part, _, rest = row["name"].partition("/")
    case, _, figure = rest.partition("/")
    return part, case, figure


def _draw(part: str, rows: Sequence[Row], folder: Path) -> Path:
    # Matplotlib takes a second to import, and most of what this package measures is not drawn.
    import matplotlib

    matplotlib.use("svg")
    # The same figures make the same file, and letters stay letters.
    matplotlib.rcParams |= {"svg.hashsalt": part, "svg.fonttype": "none"}
    from matplotlib import pyplot

    cases = list(dict.fromkeys(_place(row)[1] for row in rows))
    figure, panels = pyplot.subplots(1, len(PANELS), figsize=(12, 4.5))
    for axes, (name, label) in zip(panels, PANELS.items(), strict=True):
        _fill(axes, points(rows, name), cases)
        axes.set_ylabel(label)
    panels[0].legend(fontsize="small")
    figure.suptitle(TITLES[part])
    figure.tight_layout()
    path = folder / f"editors-{part}.svg"
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


def _fill(axes: Any, values: dict[str, dict[str, float]], cases: Sequence[str]) -> None:
    for marker, (system, by_case) in zip(MARKERS, values.items(), strict=False):
        places = [place for place, case in enumerate(cases) if case in by_case]
        axes.plot(places, [by_case[cases[place]] for place in places], marker=marker, label=system)
    axes.set_xticks(range(len(cases)), cases)
    axes.set_yscale("log")
    axes.grid(alpha=0.3)
