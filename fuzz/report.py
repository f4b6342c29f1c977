"""What became of everything that was sent, in a few lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from fuzz.ways import NO_ANSWER, Outcome

_SHOWN = 20
_LINE = 400  # characters of a failure


@dataclass(slots=True)
class Report:
    """One part of the attack."""

    part: str
    outcomes: list[Outcome] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    """Of requests that have no outcome of their own."""
    failures: Counter[str] = field(default_factory=Counter)
    """What those of them were that got a 5xx, good or bad."""
    complaints: list[str] = field(default_factory=list)
    peak: int = 0
    """Bytes of the whole tree beyond those at rest."""

    @property
    def bad(self) -> list[str]:
        return [str(outcome) for outcome in self.outcomes if not outcome.good] + self.complaints

    def show(self) -> None:
        counts = self.statuses + Counter(outcome.status for outcome in self.outcomes)
        told = ", ".join(f"{_called(status)}: {count}" for status, count in sorted(counts.items()))
        print(f"\n{self.part}: {counts.total()} requests ({told})")
        print(f"  memory at most {self.peak / 1e6:.0f} MB over idle")
        for outcome in slowest(self.outcomes, 3):
            print(f"  slow: {outcome.seconds:.1f} s by {outcome.way}: {outcome.name}")
        for failure, count in self.failures.most_common(_SHOWN):
            print(f"  {count} times {failure[:_LINE]}")
        for line in self.bad[:_SHOWN]:
            print(f"  BAD: {line}")
        if len(self.bad) > _SHOWN:
            print(f"  BAD: and {len(self.bad) - _SHOWN} more")


def slowest(outcomes: Sequence[Outcome], count: int) -> list[Outcome]:
    return sorted(outcomes, key=lambda outcome: outcome.seconds, reverse=True)[:count]


def _called(status: int) -> str:
    return "no answer" if status == NO_ANSWER else str(status)
