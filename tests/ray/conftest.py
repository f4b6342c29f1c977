"""What runs where Ray is installed, and how two processes share the work."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

_RAY = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # the machines that run this are shared
}

collect_ignore_glob: list[str] = []
if find_spec("ray"):
    os.environ.update(_RAY)  # Ray reads them when it is imported
else:
    collect_ignore_glob += ["test_*.py", "nodes"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """One process runs all tests in ``nodes``, so that their cluster starts only once."""
    from xdist.scheduler import LoadFileScheduling

    scheduler = LoadFileScheduling(config, log)
    scheduler._split_scope = _scope
    return scheduler


def _scope(test: str) -> str:
    """What a process takes as a whole: the folder of a test of the cluster, or else its file."""
    file = test.partition("::")[0]
    folder = file.rpartition("/")[0]
    return folder if folder.endswith("/nodes") else file
