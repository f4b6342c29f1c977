"""The history of every figure that has a target, as one SVG: ``python -m benchmarks.plot``."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot

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
    rows = math.ceil(len(targets) / COLUMNS)
    figure, grid = pyplot.subplots(rows, COLUMNS, figsize=(15, 2.4 * rows), squeeze=False)
    for axes in grid.flat[len(targets) :]:
        axes.set_visible(False)
    for axes, (name, target) in zip(grid.flat, targets.items(), strict=False):
        points = history.values(name)
        axes.plot(range(1, len(points) + 1), points, marker="o")
        axes.axhline(float(target.split()[1]), linestyle=":", color="grey")
        axes.set_title(f"{name}\n{target}", fontsize=8)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=7)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.tight_layout()
    PATH.parent.mkdir(exist_ok=True)
    figure.savefig(PATH, metadata={"Date": None})
    print(f"written to {PATH}")


if __name__ == "__main__":
    main()
