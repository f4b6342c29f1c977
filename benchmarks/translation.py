"""Sentences through our server in one batch, and of many clients at once, against one by one.

The model is the tiny one that was trained for the tests: it takes a millisecond for a sentence, so
that what a batch saves in a real model shows less here than there.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

import httpx

from benchmarks.figures import Figure
from benchmarks.server import Server
from benchmarks.timing import times_as_fast
from tests.engines.tongues import TRANSLATION, sentences

SENTENCES = 200
CLIENTS = 16
TARGET = 4


def run() -> list[Figure]:
    known = [one for one in sentences() if len(one["en"]) > 20]
    some = list(islice(cycle(known), SENTENCES))
    texts = [one["en"] for one in some]
    expected = [one["es"] for one in some]
    settings = {"model": "scripted", "translator": str(TRANSLATION), "workers": "1"}
    with Server(**settings) as server, server.client() as client:

        def one_by_one() -> list[str]:
            return [_translated(client, text) for text in texts]

        def together() -> list[str]:
            return _translated(client, "\n".join(texts)).split("\n")

        def of_many_clients() -> list[str]:
            with ThreadPoolExecutor(CLIENTS) as clients:
                return list(clients.map(lambda text: _translated(client, text), texts))

        return [
            _figure(f"{SENTENCES} sentences in one request", together, one_by_one, expected),
            _figure(
                f"{SENTENCES} sentences of {CLIENTS} clients",
                of_many_clients,
                one_by_one,
                expected,
                target=1,
            ),
        ]


def _translated(client: httpx.Client, text: str) -> str:
    body = {"text": text, "source_language": "en", "target_language": "es"}
    answer = client.post("/translate", json=body).raise_for_status()
    return str(answer.json()["text"]["es"])


def _figure(
    name: str,
    ours: Callable[[], list[str]],
    one_by_one: Callable[[], list[str]],
    expected: list[str],
    target: int = TARGET,
) -> Figure:
    same = ours() == expected == one_by_one()  # and everything is loaded and warm
    ratio, spread = times_as_fast(ours, one_by_one)
    told = "the same translations" if same else "translations DIFFER"
    return Figure(
        f"{name} / one by one", ratio, f">= {target}", ratio >= target and same, f"{spread}, {told}"
    )
