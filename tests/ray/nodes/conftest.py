"""The application on a cluster of two nodes on this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.api.llms import LLM
from tests.live import KEY
from tests.postgresql import binaries
from tests.postgresql import cluster as postgresql

if TYPE_CHECKING:
    from tests.ray.cluster import RayCluster

__all__ = ["postgresql"]  # a fixture

OTHER_KEY = "other-key"
KEY_REQUESTS = 40
"""Of each key, at once."""


@pytest.fixture(scope="session")
def jobs(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings that jobs need; none if this machine has no PostgreSQL."""
    if not binaries():
        return {}
    programs, port = request.getfixturevalue("postgresql")
    where = ["-h", "127.0.0.1", "-p", str(port), "-U", "tests"]
    subprocess.run([str(programs / "createdb"), *where, "jobs"], check=True)
    return {"REFLECTOR_DATABASE_URL": f"postgresql://tests@127.0.0.1:{port}/jobs"}


@pytest.fixture(scope="session")
def cluster(jobs: dict[str, str]) -> Iterator[RayCluster]:
    """Two nodes, two servers, and two replicas of each recogniser, `sphinx` and `scripted`, and of
    the tiny language model."""
    from tests.ray.cluster import RayCluster

    keys = {"APIKEY": f"{KEY},{OTHER_KEY}", "KEY_REQUESTS": f"{KEY_REQUESTS}"}
    settings = {**keys, "LLM_ENGINE": "ctranslate2", "LLM_MODEL": f"{LLM}"}
    named = {f"REFLECTOR_{name}": value for name, value in settings.items()}
    with RayCluster({**jobs, **named}) as cluster:
        yield cluster
