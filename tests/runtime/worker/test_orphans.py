"""A service that is killed outright leaves no worker behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from tests.processes import alive
from tests.waiting import PROGRAM_SECONDS, until

SERVICE = """
    import asyncio, pathlib
    from reflector_gpu.runtime.pool import Pool
    from reflector_gpu.runtime.pool_options import PoolOptions
    from reflector_gpu.types import Priority
    from tests.runtime import engines
    from tests.runtime.engines import recipe
    from tests.waiting import until

    async def main():
        pool = Pool("test", [recipe({engine})] * 2, PoolOptions())
        pool.start()
        {ready}
        task = asyncio.ensure_future(
            pool.submit("{item}", "", cost=1.0, priority=Priority.FILE))
        await asyncio.sleep(0)
        print("up", flush=True)
        await {then}

    asyncio.run(main())
"""
ROOT = Path(__file__).parents[3]

WORKING = "engines.Obedient, notes='{notes}'"


def program(engine: str, ready: str, item: str, then: str) -> list[str]:
    """The command of a program that awaits ``then`` once its pool is in some state."""
    code = textwrap.dedent(SERVICE).format(engine=engine, ready=ready, item=item, then=then)
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("engine", "ready", "item", "then"),
    [
        ("engines.Echo", "pool.wait_ready()", "a", "task"),
        (WORKING, "pool.wait_ready()", "hang", "asyncio.to_thread(until, {notes}.exists)"),
        ("engines.Unloadable, how='hang'", "", "a", "asyncio.sleep(0)"),
    ],
    ids=["idle", "working", "loading"],
)
def test_a_program_that_leaves_a_pool_open_ends(
    engine: str, ready: str, item: str, then: str, tmp_path: Path
) -> None:
    """Multiprocessing waits for workers at the end, and they do not end when they are asked to."""
    notes = tmp_path / "notes"
    made, awaited = engine.format(notes=notes), then.format(notes=f"pathlib.Path('{notes}')")
    command = program(made, ready, item, awaited)
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, timeout=PROGRAM_SECONDS, check=True
    )
    assert done.stdout == b"up\n"


@pytest.mark.parametrize(
    ("engine", "ready", "item"),
    [
        ("engines.Echo", "pool.wait_ready()", "a"),
        (WORKING, "pool.wait_ready()", "hang"),
        pytest.param(
            WORKING,
            "pool.wait_ready()",
            "hang natively",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends it"),
        ),
        ("engines.Unloadable, how='hang'", "", "a"),
    ],
    ids=["idle", "working", "working in a library that holds the interpreter", "loading"],
)
def test_no_worker_outlives_a_service_that_is_killed(
    engine: str, ready: str, item: str, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    made = engine.format(notes=notes)
    with subprocess.Popen(
        program(made, ready, item, "asyncio.sleep(3600)"), cwd=ROOT, stdout=subprocess.PIPE
    ) as service:
        assert service.stdout
        assert service.stdout.readline() == b"up\n"
        parent = psutil.Process(service.pid)
        until(lambda: len(parent.children()) >= 3)  # two workers and multiprocessing's helper
        if engine is WORKING:
            until(notes.exists)
        children = parent.children(recursive=True)
        service.send_signal(signal.SIGKILL)
    try:
        until(lambda: not any(alive(child) for child in children))
    finally:
        for child in filter(alive, children):
            child.kill()
