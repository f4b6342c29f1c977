"""The pages of the site: those of docs/, those from elsewhere, and where readers find them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeAlias

ROOT = Path(__file__).parents[1]

Navigation: TypeAlias = Sequence[object]
"""As mkdocs.yml has it: titles with a page or with further entries."""

ELSEWHERE = {
    "security.md": "SECURITY.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "modal.md": "modal_deployments/README.md",
}
"""Pages of the site, and the files that they are."""

GENERATED = frozenset({*ELSEWHERE, "api.md"})
"""Pages that docs/ does not have."""


def name_of(path: str) -> str:
    return PurePosixPath(path).name


def pages_in(navigation: object) -> Iterator[str]:
    """The pages that a part of the navigation leads to."""
    if isinstance(navigation, str):
        yield navigation
    elif isinstance(navigation, dict):
        for part in navigation.values():
            yield from pages_in(part)
    elif isinstance(navigation, list):
        for part in navigation:
            yield from pages_in(part)


def more(navigation: Navigation) -> list[object]:
    """An entry for pages that the navigation leaves out, so that no page is lost."""
    here = {path.name for path in (ROOT / "docs").glob("*.md")}
    left_out = sorted(here - set(pages_in(list(navigation))))
    return [{"More": list(left_out)}] if left_out else []
