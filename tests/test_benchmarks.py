"""What the benchmarks leave behind: a history that can be read, and a page that tells it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import history, page
from benchmarks.figures import Figure

FIGURE = Figure("ours / theirs", 2.5, ">= 2", True, "2.1 to 2.9")
MISSED = Figure("overhead", 0.28, ">= 0.6", False, "0.2 to 0.3")


@pytest.fixture
def past(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "history.jsonl"
    monkeypatch.setattr(history, "PATH", path)
    return path


@pytest.mark.usefixtures("past")
def test_a_run_is_read_as_it_was_written() -> None:
    history.add("pipeline", [FIGURE, MISSED])
    (run,) = history.runs()
    assert run.benchmark == "pipeline"
    assert run.figures == [FIGURE, MISSED]
    assert run.when.tzinfo is not None
    assert {"commit", "cores", "processor", "python", "numpy"} <= set(run.machine)


@pytest.mark.usefixtures("past")
def test_the_newest_run_of_each_benchmark_counts() -> None:
    history.add("pipeline", [FIGURE])
    history.add("start", [MISSED])
    history.add("pipeline", [Figure("ours / theirs", 3.0, ">= 2", True)])
    assert {name: run.figures[0].value for name, run in history.newest().items()} == {
        "pipeline": 3.0,
        "start": 0.28,
    }
    assert history.values("ours / theirs") == [2.5, 3.0]


@pytest.mark.usefixtures("past")
def test_a_table_says_what_was_met() -> None:
    history.add("pipeline", [FIGURE, MISSED, Figure("share", 0.2, "", True)])
    table = page.tables()
    assert "### `pipeline`" in table
    assert "| ours / theirs | 2.5 | >= 2 | yes | 2.1 to 2.9 |" in table
    assert "| overhead | 0.28 | >= 0.6 | **no** | 0.2 to 0.3 |" in table
    assert "| share | 0.2 |  |  |  |" in table


def test_every_benchmark_is_described() -> None:
    from benchmarks.__main__ import BENCHMARKS

    described = re.findall(r"^\| `(\w+)` \|", page.PATH.read_text(), re.MULTILINE)
    assert described == sorted(BENCHMARKS)
