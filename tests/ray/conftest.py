"""The application on a cluster of two nodes on this machine, where Ray is installed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.ray.cluster import RayCluster

_RAY = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # the machines that run this are shared
}

collect_ignore_glob: list[str] = []
if find_spec("ray"):
    os.environ.update(_RAY)  # Ray reads them when it is imported
else:
    collect_ignore_glob.append("test_*.py")


@pytest.fixture(scope="session")
def cluster() -> Iterator[RayCluster]:
    """Two nodes, two servers, and two replicas of each recogniser: `sphinx` and `scripted`."""
    from tests.ray.cluster import RayCluster

    with RayCluster() as cluster:
        yield cluster
