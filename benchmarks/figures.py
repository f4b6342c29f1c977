"""One measured figure, and the table they are printed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """``value`` compares two things measured in one run; ``target`` says what it should be."""

    name: str
    value: float
    target: str
    met: bool
    detail: str = ""

    def row(self) -> dict[str, object]:
        return asdict(self)


def print_table(figures: Sequence[Figure]) -> None:
    table = Table("figure", "value", "target", "met", "detail")
    for figure in figures:
        met = ("[green]yes[/]" if figure.met else "[red]no[/]") if figure.target else ""
        table.add_row(figure.name, f"{figure.value:.3f}", figure.target, met, figure.detail)
    Console().print(table)
