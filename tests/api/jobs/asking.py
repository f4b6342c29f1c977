"""What tests ask a server about jobs."""

from __future__ import annotations

from typing import Any

import httpx

from tests.api.support import (
    eventually,
)

JOBS = "/v1/jobs"

OTHER = "other-key"


def submit(http: httpx.Client, audio: bytes, **fields: Any) -> dict[str, Any]:
    answer = http.post(JOBS, files={"file": ("talk.wav", audio)}, data=fields)
    assert answer.status_code in (200, 202), answer.text
    found: dict[str, Any] = answer.json()
    return found


def get(http: httpx.Client, job: dict[str, Any], **query: str) -> dict[str, Any]:
    found: dict[str, Any] = http.get(f"{JOBS}/{job['id']}", params=query).json()
    return found


def ended(http: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = get(http, job)
        return found if found["status"] in ("completed", "failed", "cancelled") else None

    found = eventually(look)
    assert found
    return found


def result(http: httpx.Client, job: dict[str, Any], **query: Any) -> httpx.Response:
    return http.get(f"{JOBS}/{job['id']}/result", params=query)
