"""Downloads beside a running server: one at a time, told about, stopped with it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.engines.base import AnyModel
from reflector_gpu.engines.recognition import scripted
from reflector_gpu.engines.recognition.base import RecogniserModel
from reflector_gpu.engines.weights import Weights
from reflector_gpu.errors import EngineLoading, ModelNotInstalled
from reflector_gpu.service.downloads import _RECIPE, RETRY_SECONDS, Downloads, patience
from tests.conftest import ROOT
from tests.engines.hub import LARGE, WRITTEN, Hub
from tests.processes import alive, workers
from tests.runtime.clock import Clock
from tests.waiting import until

pytestmark = pytest.mark.slow

WEIGHTS = Weights("somebody/some-model", ("*",), ("config.json", "model.bin"), 12)


def model(name: str) -> RecogniserModel:
    return RecogniserModel(
        name, "nowhere:Engine", scripted.SPEC, "For tests", "MIT", weights=WEIGHTS
    )


MINE, OTHER = model("mine"), model("other")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub that this process and its children know, and an empty cache."""
    with Hub(WEIGHTS.repository, {"config.json": b"{}", "model.bin": LARGE}) as hub:
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield hub


@asynccontextmanager
async def downloads(clock: Clock | None = None) -> AsyncIterator[tuple[Downloads, list[str]]]:
    """And the names of those that have come, each of which is there by then."""
    came: list[str] = []

    def finished(model: AnyModel) -> None:
        assert not model.missing
        came.append(model.name)

    found = Downloads(finished, clock or Clock())
    try:
        yield found, came
    finally:
        await found.close()


async def true(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(until, condition)


def is_written() -> bool:
    return WEIGHTS.fetched >= WRITTEN / 1e6


@pytest.fixture
def pullers(hub: Hub) -> Callable[[], set[psutil.Process]]:
    """The processes that download."""
    return lambda: workers(_RECIPE.engine)


def test_a_model_comes_once_however_often_it_is_asked_for(hub: Hub) -> None:
    async def scene() -> None:
        async with downloads() as (under_way, came):
            assert MINE not in under_way
            under_way.check(MINE)  # nothing is known, nothing is wrong
            for _ in range(3):
                under_way.start(MINE)
            assert MINE in under_way
            await true(lambda: came)
            assert came == ["mine"]
            assert MINE not in under_way
            under_way.check(MINE)

    asyncio.run(scene())
    assert hub.fetched == ["config.json", "model.bin"]


def test_one_at_a_time_and_each_says_where_it_is(
    hub: Hub, pullers: Callable[[], set[psutil.Process]]
) -> None:
    async def scene() -> None:
        clock = Clock()
        async with downloads(clock) as (under_way, came):
            hub.stops_after = WRITTEN + 1000
            under_way.start(MINE)
            under_way.start(OTHER)
            await true(is_written)
            clock.advance(100)

            with pytest.raises(EngineLoading) as first:
                under_way.check(MINE)
            assert first.value.message == "Model 'mine' is being downloaded: 10 MB of 12 MB."
            assert first.value.retry_after == pytest.approx(100 * 1.5 / 10.5, rel=0.1)

            with pytest.raises(EngineLoading) as second:
                under_way.check(OTHER)
            assert second.value.message == (
                "Model 'other' will be downloaded after 'mine': 10 MB of 12 MB."
            )
            assert second.value.retry_after > first.value.retry_after
            assert len(pullers()) == 1

            hub.go_on()
            await true(lambda: len(came) == 2)
            assert came == ["mine", "other"]

    asyncio.run(scene())


def test_a_failure_is_told_and_tried_again_only_after_a_while(hub: Hub) -> None:
    async def scene() -> None:
        clock = Clock()
        async with downloads(clock) as (under_way, came):
            hub.damaged.add("model.bin")
            under_way.start(MINE)
            await true(lambda: MINE not in under_way)
            with pytest.raises(ModelNotInstalled) as told:
                under_way.check(MINE)
            assert "arrived damaged" in told.value.message
            assert "reflector-gpu models pull mine" in told.value.message
            assert told.value.retry_after == RETRY_SECONDS

            hub.damaged.clear()
            clock.advance(RETRY_SECONDS - 1)
            under_way.start(MINE)
            assert MINE not in under_way

            clock.advance(1)
            under_way.start(MINE)
            assert MINE in under_way
            await true(lambda: came)

    asyncio.run(scene())


def test_a_failure_does_not_hold_up_the_next(hub: Hub) -> None:
    elsewhere = Weights("somebody/else", ("*",), ("model.bin",), 12)

    async def scene() -> None:
        async with downloads() as (under_way, came):
            under_way.start(replace(OTHER, weights=elsewhere))
            under_way.start(MINE)
            await true(lambda: came)
            assert came == ["mine"]
            with pytest.raises(ModelNotInstalled, match="answers 404 for somebody/else"):
                under_way.check(OTHER)

    asyncio.run(scene())


def test_offline_mode_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    async def scene() -> None:
        async with downloads() as (under_way, _):
            under_way.start(MINE)
            await true(lambda: MINE not in under_way)
            with pytest.raises(ModelNotInstalled, match="HF_HUB_OFFLINE is set"):
                under_way.check(MINE)

    asyncio.run(scene())


def test_a_download_whose_process_is_killed_has_failed(
    hub: Hub, pullers: Callable[[], set[psutil.Process]]
) -> None:
    async def scene() -> None:
        async with downloads() as (under_way, _):
            hub.stops_after = WRITTEN + 1000
            under_way.start(MINE)
            await true(is_written)
            for process in pullers():
                process.kill()
            await true(lambda: MINE not in under_way)
            with pytest.raises(ModelNotInstalled, match="SIGKILL"):
                under_way.check(MINE)

    asyncio.run(scene())


def test_closing_ends_the_download_and_the_next_one_goes_on(
    hub: Hub, pullers: Callable[[], set[psutil.Process]]
) -> None:
    async def begin() -> None:
        async with downloads() as (under_way, came):
            hub.stops_after = WRITTEN + 1000
            under_way.start(MINE)
            under_way.start(OTHER)
            await true(is_written)
            await under_way.close()
            under_way.start(MINE)  # too late
            assert came == []
        await true(lambda: not pullers())

    async def end() -> None:
        async with downloads() as (under_way, came):
            under_way.start(MINE)
            await true(lambda: came)

    asyncio.run(begin())
    hub.stops_after = None
    asyncio.run(end())
    assert [d.start for d in hub.downloads if d.name == "model.bin"] == [0, WRITTEN]


SERVER = """
import asyncio
from reflector_gpu.service.downloads import Downloads
from tests.service.test_downloads import MINE

async def main():
    Downloads(print).start(MINE)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


def test_no_download_outlives_a_server_that_is_killed(hub: Hub) -> None:
    hub.stops_after = WRITTEN + 1000
    with subprocess.Popen([sys.executable, "-c", SERVER], cwd=ROOT) as server:
        try:
            until(is_written)
            children = psutil.Process(server.pid).children(recursive=True)
            assert children
        finally:
            server.send_signal(signal.SIGKILL)
    until(lambda: not any(alive(child) for child in children))


@given(
    missing=st.floats(0, 1e6),
    came=st.floats(-1e6, 1e6),
    seconds=st.floats(0, 1e6, exclude_min=True),
)
def test_the_wait_that_is_told_is_reasonable(missing: float, came: float, seconds: float) -> None:
    told = patience(missing, came, seconds)
    assert 5 <= told <= 300
    assert told <= patience(missing + 1, came, seconds), "more to come, longer to wait"


def test_the_wait_that_is_told_follows_from_the_speed() -> None:
    assert patience(missing=600, came=1200, seconds=60) == 30
