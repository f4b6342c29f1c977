"""The simulated cluster, where the answer is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.simulation import Cluster, simulate

BUSY = Cluster(replicas=1, cores=8, front=[0.01], service=[0.5], delay=0.0, clients=32)


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_replicas_that_are_never_idle_answer_at_the_speed_of_the_engine(replicas: int) -> None:
    found = simulate(replace(BUSY, replicas=replicas), 2000)
    assert found.throughput == pytest.approx(replicas / 0.5, rel=0.05)
    assert len(found.latencies) == 2000


def test_one_client_waits_for_nobody() -> None:
    found = simulate(replace(BUSY, replicas=4, clients=1, delay=0.02), 50)
    assert {round(one, 9) for one in found.latencies} == {0.53}


def test_more_replicas_than_the_servers_can_feed_do_not_help() -> None:
    starved = replace(BUSY, cores=1, front=[0.25], replicas=8)
    assert simulate(starved, 500).throughput == pytest.approx(4.0, rel=0.05)


def test_the_same_seed_gives_the_same_outcome() -> None:
    varied = replace(BUSY, replicas=2, service=[0.1, 0.5, 0.9])
    assert simulate(varied, 300, seed=1) == simulate(varied, 300, seed=1)
    assert simulate(varied, 300, seed=1) != simulate(varied, 300, seed=2)
