"""The history of every figure that has a target, as one SVG: ``python -m benchmarks.plot``."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib as mpl
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from benchmarks import history

PATH = Path(__file__).parent.parent / "docs" / "benchmarks.svg"
COLUMNS = 3


def main() -> None:
    newest = history.newest()
    figures = [figure for name in sorted(newest) for figure in newest[name].figures]
    targets = {figure.name: figure.target for figure in figures if figure.target}
    if not targets:
        raise SystemExit("There is no history yet: run 'make bench' first.")
    mpl.rcParams["svg.hashsalt"] = "benchmarks"  # the same history draws the same file
    mpl.rcParams["svg.fonttype"] = "none"  # text stays text, which takes a tenth
    rows = math.ceil(len(targets) / COLUMNS)
    drawing = Figure(figsize=(15, 2.4 * rows))
    grid = drawing.subplots(rows, COLUMNS, squeeze=False)
    for axes in grid.flat[len(targets) :]:
        axes.set_visible(False)
    for axes, (name, target) in zip(grid.flat, targets.items(), strict=False):
        days, points = zip(*history.values(name), strict=True)
        axes.plot(days, points, marker="o")
        axes.axhline(_number(target), linestyle=":", color="grey")
        axes.set_title(f"{name}\n{target}", fontsize=8)
        axes.set_ylim(bottom=min(0, *points))
        axes.tick_params(labelsize=7)
        dates = AutoDateLocator(minticks=3)
        axes.xaxis.set_major_locator(dates)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(dates))
    drawing.tight_layout()
    PATH.parent.mkdir(exist_ok=True)
    drawing.savefig(PATH, metadata={"Date": None})
    print(f"written to {PATH}")


def _number(target: str) -> float:
    """That of ``>= 0.95``, and the first of ``<= 12.0 / 3.0``."""
    return float(target.split()[1])


if __name__ == "__main__":
    main()
