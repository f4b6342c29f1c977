"""The dashboard, the alerts and their page name metrics that the server has, and lack none."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.live import LiveServer

ROOT = Path(__file__).parent.parent
MONITORING = ROOT / "monitoring"
DASHBOARD = MONITORING / "grafana" / "reflector-gpu.json"
ALERTS = MONITORING / "alerts.yml"

SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "info": ("_info",),
}


@pytest.fixture(scope="module")
def families(scripted: LiveServer) -> list[Metric]:
    with scripted.client() as client:
        text = client.get("/metrics").text
    return list(text_string_to_metric_families(text))


@pytest.fixture(scope="module")
def exposed(families: list[Metric]) -> set[str]:
    """The names of all series, in queries."""
    return {f"{one.name}{end}" for one in families for end in SUFFIXES[one.type]}


def _panels() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return panels


def _named(text: str) -> set[str]:
    """The metrics that ``text`` names."""
    return set(re.findall(r"\b(?:reflector|process)_[a-z_]+\b", text))


def _queries() -> Iterator[str]:
    for panel in _panels():
        yield from (target["expr"] for target in panel.get("targets", ()))


def test_the_dashboard_asks_for_metrics_that_the_server_has(exposed: set[str]) -> None:
    for query in _queries():
        assert _named(query), query
        assert _named(query) <= exposed


def test_the_panels_do_not_overlap() -> None:
    cells = [
        (x, y)
        for panel in _panels()
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_the_alerts_ask_for_metrics_that_the_server_has(exposed: set[str]) -> None:
    rules = ALERTS.read_text()
    assert len(_named(rules)) > 8
    assert _named(rules) <= exposed


def test_replicas_are_added_by_a_metric_that_the_server_has(exposed: set[str]) -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    [series] = re.findall(r"seriesQuery: '(\w+)\{", page)
    assert series in exposed


def test_the_page_lists_every_metric_and_no_other(exposed: set[str]) -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    listed = set().union(*map(_named, rows))
    parts = tuple(f"_{part}" for part in ("bucket", "sum", "count"))
    ours = {name for name in exposed if name.startswith("reflector_")}
    whole = {name.removesuffix("_bucket") for name in ours if name.endswith("_bucket")}
    whole |= {name for name in ours if not name.endswith(parts)}
    assert listed - {"process_"} == whole


def promtool(*arguments: str) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("Debian's prometheus is not installed")
    done = subprocess.run(
        ["promtool", *arguments], cwd=MONITORING, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_rules() -> None:
    promtool("check", "rules", ALERTS.name)


def test_the_alerts_are_raised_for_a_sick_server_and_not_for_a_calm_one() -> None:
    promtool("test", "rules", "alerts.test.yml")
