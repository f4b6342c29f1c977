"""What the OpenAPI document describes, sent right and wrong by schemathesis."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fuzz.attack import part
from fuzz.report import Report
from fuzz.target import KEY, Target
from fuzz.ways import HANGS_SECONDS, NO_ANSWER

CHECKS = "content_type_conformance,response_schema_conformance,status_code_conformance"
"""Those of schemathesis; that the server never blames itself is checked here."""

ELSEWHERE = (502, 504)
"""It invents URLs, and their hosts do not answer. All others of the 5xx are the server's fault."""

UNFIT = "did not answer with JSON that fits"
"""It invents schemas, too, and the tiny language model writes JSON to few of them."""

_ROOT = Path(__file__).parent.parent  # where its process finds `fuzz.hooks`
_SHOWN = 3_000  # characters of what schemathesis found
_LINE = 300  # characters of each line of it
_ADVICE = " WARNINGS ="
"""Where it begins to say what else it could have tried."""


def api_part(server: Target, seconds: int, *, seed: int) -> Report:
    """Whatever fits the document and whatever does not, for some ``seconds``."""
    with part(server, "the OpenAPI document") as report, tempfile.TemporaryDirectory() as folder:
        document, events = Path(folder, "openapi.json"), Path(folder, "events")
        with server.client() as client:
            document.write_text(json.dumps(_readable(client.get("/openapi.json").json())))
        command = [str(Path(sys.executable).with_name("st")), "run", str(document)]
        options = {
            "--url": server.url,
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
            env={**os.environ, "SCHEMATHESIS_HOOKS": "fuzz.hooks", "PYTHONPATH": str(_ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        answers = list(_answers(events))
        report.statuses.update(answer.status for answer in answers)
        report.failures.update(answer.failure for answer in answers if answer.status >= 500)
        report.complaints += [str(answer) for answer in answers if not answer.good]
        if done.returncode:
            found, _, _ = done.stdout.partition(_ADVICE)
            said = "\n".join(line[:_LINE] for line in found.splitlines())
            report.complaints.append(f"schemathesis: {said[-_SHOWN:]}{done.stderr}")
    return report


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    request: str
    said: str

    @property
    def good(self) -> bool:
        unfit = self.status == 503 and UNFIT in self.said
        return 200 <= self.status < 500 or self.status in ELSEWHERE or unfit

    @property
    def failure(self) -> str:
        """What failed, without what was sent: many requests may share it."""
        method, url, *_ = self.request.split(" ")
        return f"{self.status} for {method} {urlsplit(url).path}: {self.said}"

    def __str__(self) -> str:
        return f"{self.status} for {self.request}: {self.said}"


def _readable(document: object) -> object:
    """``document`` without ``prefixItems``, which schemathesis 4.32 takes for ``items`` of old.

    All of ours have elements of one kind.
    """
    if isinstance(document, list):
        return [_readable(one) for one in document]
    if not isinstance(document, dict):
        return document
    readable = {name: _readable(value) for name, value in document.items()}
    if kinds := readable.pop("prefixItems", None):
        assert isinstance(kinds, list)
        readable["items"] = kinds[0]
    return readable


def _answers(events: Path) -> Iterator[_Answer]:
    with events.open(encoding="utf-8") as lines:
        for line in lines:
            finished = json.loads(line).get("ScenarioFinished")
            exchanges = finished["recorder"].get("interactions", {}).values() if finished else ()
            for exchange in exchanges:
                request, response = exchange["request"], exchange["response"] or {}
                status = response.get("status_code", NO_ANSWER)
                yield _Answer(
                    status,
                    f"{request['method']} {request['uri']} {_text(request)}",
                    _text(response) if status >= 500 else "",
                )


def _text(message: Mapping[str, Any]) -> str:
    """The beginning of the body, which is in base64."""
    content = message.get("body") or message.get("content") or {}
    return base64.b64decode(content.get("$base64", ""))[:300].decode(errors="replace")
