"""CORS: pages of other sites, from which browsers send requests only if the server allows it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.api.support import TRANSCRIPTIONS
from tests.live import KEY, LiveServer

START = Callable[..., LiveServer]

SITE = "https://app.example.org"


def test_browsers_may_not_ask_from_other_sites_unless_told(scripted: LiveServer) -> None:
    with scripted.client() as client:
        answer = client.get("/v1/models", headers={"Origin": SITE})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("allowed", [SITE, f"https://b.example, {SITE}/", "*"])
def test_browsers_may_ask_from_the_sites_that_are_named(bare: START, allowed: str) -> None:
    server = bare(apikey=KEY, cors_origins=allowed)
    headers = {
        "Origin": SITE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,api-key,content-type,x-stainless-os",
    }
    with server.client(key=None) as client:
        preflight = client.options(TRANSCRIPTIONS, headers=headers)
        refused = client.post(TRANSCRIPTIONS, headers={"Origin": SITE})
        missing = client.get("/no/such", headers={"Origin": SITE, "api-key": KEY})
        good = client.get("/v1/models", headers={"Origin": SITE, "api-key": KEY})
        other = client.options("/v1/models", headers=headers | {"Origin": "https://evil.example"})
    assert preflight.status_code == 200
    granted = preflight.headers["Access-Control-Allow-Headers"].lower()
    assert {"authorization", "api-key", "x-stainless-os"} <= set(re.split(", ?", granted))
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert [a.status_code for a in (refused, missing, good)] == [401, 404, 200]
    for answer in (preflight, refused, missing, good):
        assert answer.headers["Access-Control-Allow-Origin"] in (SITE, "*")
        assert "Access-Control-Allow-Credentials" not in answer.headers
    for answer in (refused, missing, good):
        assert answer.headers["Access-Control-Expose-Headers"] == "*"
        assert answer.headers["X-Request-ID"]
    assert (other.status_code == 200) is (allowed == "*")
