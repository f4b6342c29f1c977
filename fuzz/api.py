"""What the OpenAPI document describes, sent right and wrong by schemathesis."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from fuzz.attack import part
from fuzz.report import Report
from fuzz.target import KEY, Target
from fuzz.ways import HANGS_SECONDS, NO_ANSWER

CHECKS = "content_type_conformance,response_schema_conformance,status_code_conformance"
"""Those of schemathesis; that the server never blames itself is checked here."""

ELSEWHERE = (502, 504)
"""It invents URLs, and their hosts do not answer. All others of the 5xx are the server's fault."""

_SHOWN = 3_000  # characters of what schemathesis says


def api_part(server: Target, seconds: int, *, seed: int) -> Report:
    """Whatever fits the document and whatever does not, for some ``seconds``."""
    with part(server, "the OpenAPI document") as report, tempfile.TemporaryDirectory() as folder:
        events = Path(folder, "events")
        command = [str(Path(sys.executable).with_name("st")), "run", f"{server.url}/openapi.json"]
        options = {
            "--header": f"Authorization: Bearer {KEY}",
            "--checks": CHECKS,
            "--max-time": str(seconds),
            "--seed": str(seed),
            "--request-timeout": str(HANGS_SECONDS),
            "--generation-database": "none",
            "--report": "ndjson",
            "--report-ndjson-path": str(events),
        }
        done = subprocess.run(
            [*command, *(word for option in options.items() for word in option), "--no-color"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        found = list(_answers(events))
        report.statuses.update(status for status, _ in found)
        report.complaints += [
            f"{status}: {request}"
            for status, request in found
            if (status >= 500 and status not in ELSEWHERE) or status == NO_ANSWER
        ]
        if done.returncode:
            report.complaints.append(f"schemathesis: {done.stdout[-_SHOWN:]}{done.stderr}")
    return report


def _answers(events: Path) -> Iterator[tuple[int, str]]:
    """The status of each request, and which it was."""
    with events.open(encoding="utf-8") as lines:
        for line in lines:
            finished = json.loads(line).get("ScenarioFinished")
            recorded: Mapping[str, Mapping[str, dict[str, object]]] = (
                finished["recorder"] if finished else {}
            )
            for exchange in recorded.get("interactions", {}).values():
                request, response = exchange["request"], exchange["response"]
                assert isinstance(request, dict)
                status = response["status_code"] if isinstance(response, dict) else NO_ANSWER
                yield int(status), f"{request['method']} {request['uri']}"
