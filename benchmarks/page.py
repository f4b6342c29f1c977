"""The newest figures, as tables, into the page about them: ``python -m benchmarks.page``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import history
from benchmarks.history import Run

PATH = Path(__file__).parent.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- figures: written by make bench-plot -->\n", "<!-- end of figures -->\n"


def main() -> None:
    before, _, rest = PATH.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PATH.write_text(f"{before}{BEGIN}{tables()}{END}{after}")
    print(f"written to {PATH}")


def tables() -> str:
    """One for every benchmark."""
    newest = history.newest()
    return "".join(line + "\n" for name in sorted(newest) for line in _table(newest[name]))


def _table(run: Run) -> Iterator[str]:
    machine = dict(run.machine)
    commit, cores, processor, memory, system, python = (
        machine.pop(name)
        for name in ("commit", "cores", "processor", "memory_gb", "platform", "python")
    )
    libraries = ", ".join(f"{name} {version}" for name, version in machine.items())
    yield from ("", f"### `{run.benchmark}`", "")
    yield f"{run.when:%Y-%m-%d}, commit {commit}, {cores} cores of {processor}, {memory} GB,"
    yield f"{system}, Python {python},"
    yield from (f"{libraries}.", "")
    yield "| figure | value | target | met | detail |"
    yield "|---|---:|---|---|---|"
    for figure in run.figures:
        met = ("yes" if figure.met else "**no**") if figure.target else ""
        value = round(figure.value, 4) + 0.0  # no -0
        yield f"| {figure.name} | {value:.3g} | {figure.target} | {met} | {figure.detail} |"
    yield ""


if __name__ == "__main__":
    main()
