"""The part of `make fuzz` that is quick: a server under a limit of memory, and what it is sent.

A failure names the file, and `python -m fuzz.media FOLDER` writes them all.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle

import pytest

from benchmarks.watch import Watch
from fuzz.media.crafted import BOMBS, CRAFTED, crafted
from fuzz.media.mutated import MUTATIONS, mutated
from fuzz.report import Report
from fuzz.target import MOST_AT_WORK, Target, target
from fuzz.ways import Sender
from tests.api.hosts import AudioHost

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, limits memory")

MUTATED = 90
"""Of each mutation ten or more."""


@pytest.fixture(scope="module")
def server() -> Iterator[Target]:
    with target(MAX_AUDIO_SECONDS="600") as server:
        yield server


@pytest.fixture(scope="module")
def sender(server: Target) -> Iterator[Sender]:
    with server.client() as client, AudioHost() as host:
        sender = Sender(client, host)
        for media in mutated(8):  # what is opened once and then kept
            for way in sender.ways:
                sender.send(media, way)
        yield sender


@pytest.mark.slow
def test_crafted_files(server: Target, sender: Sender) -> None:
    files = list(crafted())
    idle = server.footprint()
    with Watch(server.process.pid) as watch:
        outcomes = [sender.send(media, way) for media in files for way in sender.ways]
    assert [str(outcome) for outcome in outcomes if not outcome.good] == []
    assert watch.peak - idle.memory < MOST_AT_WORK
    assert server.healthy()
    # Allocators keep some of what a file took. Another round gets by with that, or there is a leak.
    before = server.footprint()
    for media, way in zip(files, cycle(sender.ways), strict=False):
        assert sender.send(media, way).good
    assert server.left_behind(replace(before, descriptors=idle.descriptors, files=idle.files)) == []


@pytest.mark.slow
def test_mutated_files(server: Target, sender: Sender) -> None:
    before = server.footprint()
    with Watch(server.process.pid) as watch:
        outcomes = [
            sender.send(media, way)
            for media, way in zip(mutated(MUTATED), cycle(sender.ways), strict=False)
        ]
    assert len(outcomes) == MUTATED
    assert [str(outcome) for outcome in outcomes if not outcome.good] == []
    assert {200, 400} <= {outcome.status for outcome in outcomes}
    assert watch.peak - before.memory < MOST_AT_WORK
    assert server.healthy()
    assert server.left_behind(before) == []


def test_a_report_says_which_requests_got_a_5xx(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("the OpenAPI document")
    report.statuses[503] = report.failures["503 for POST /llm: no JSON that fits"] = 2
    report.show()
    assert "2 times 503 for POST /llm: no JSON that fits" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_files() -> None:
    first = list(mutated(MUTATED))
    assert first == list(mutated(MUTATED))
    assert first != list(mutated(MUTATED, seed=1))
    names = " ".join(media.name for media in first)
    assert all(mutation in names for mutation in MUTATIONS)


def test_every_crafted_file_is_small_enough_to_be_sent() -> None:
    for name, make in {**CRAFTED, **BOMBS}.items():
        assert 0 < len(make()) < 16_000_000, name
