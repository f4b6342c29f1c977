"""What the benchmarks leave behind: a history that can be read, and a page that tells it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import history, page
from benchmarks.figures import Figure, print_table

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
    known = {"commit", "cores", "processor", "memory_gb", "platform", "python", "numpy"}
    assert known <= set(run.machine)


@pytest.mark.usefixtures("past")
def test_the_newest_run_of_each_benchmark_counts() -> None:
    history.add("pipeline", [FIGURE])
    history.add("start", [MISSED])
    history.add("pipeline", [Figure("ours / theirs", 3.0, ">= 2", True)])
    assert {name: run.figures[0].value for name, run in history.newest().items()} == {
        "pipeline": 3.0,
        "start": 0.28,
    }
    assert [value for _, value in history.values("ours / theirs")] == [2.5, 3.0]


@pytest.mark.usefixtures("past")
def test_a_table_says_what_was_met() -> None:
    history.add("pipeline", [FIGURE, MISSED, Figure("share", 0.2, "", True)])
    table = page.tables()
    assert "### `pipeline`" in table
    assert "| ours / theirs | 2.5 | >= 2 | yes | 2.1 to 2.9 |" in table
    assert "| overhead | 0.28 | >= 0.6 | **no** | 0.2 to 0.3 |" in table
    assert "| share | 0.2 |  |  |  |" in table


@pytest.mark.usefixtures("past")
@pytest.mark.parametrize(("changed", "said"), [("", "commit abc,"), (" M a", "commit abc-dirty,")])
def test_a_table_says_whether_the_source_was_that_of_the_commit(
    changed: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_git", lambda *a: changed if a[0] == "status" else "abc")
    history.add("pipeline", [FIGURE])
    assert said in page.tables()


@pytest.mark.usefixtures("past")
def test_targets_of_every_kind_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks import plot

    monkeypatch.setattr(plot, "PATH", tmp_path / "docs" / "benchmarks.svg")
    targets = (">= 2", "> 1", "<= 1.05", "= 0", "= 1", "<= 12.0 / 3.0", "")
    for value in (0.5, 2.0, -0.5):
        figures = [Figure(f"figure {target}", value, target, True) for target in targets]
        history.add("pipeline", figures)
    plot.main()
    drawn = plot.PATH.read_text()
    assert drawn.count('id="axes_') == len(targets) - 1


def test_results_keep_what_others_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import command

    monkeypatch.setattr(command, "RESULTS", tmp_path / "results.json")
    command.keep({"pipeline": [FIGURE], "start": [FIGURE]})
    command.keep({"start": [MISSED]})
    found = json.loads(command.RESULTS.read_text())
    assert found == {"pipeline": [FIGURE.row()], "start": [MISSED.row()]}


@pytest.mark.parametrize(("target", "met"), [(">= 2", True), ("", False)])
def test_only_a_target_is_met(target: str, met: bool, capsys: pytest.CaptureFixture[str]) -> None:
    print_table([Figure("share", 2.5, target, True)])
    assert ("yes" in capsys.readouterr().out) == met


def test_every_benchmark_is_described() -> None:
    from benchmarks.command import BENCHMARKS

    described = re.findall(r"^\| `(\w+)` \|", page.PATH.read_text(), re.MULTILINE)
    assert described == sorted(BENCHMARKS)
