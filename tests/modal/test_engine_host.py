"""An engine in its container: calls that overlap, and what fails."""

from __future__ import annotations

import tempfile
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.deploy.engine_host import EngineHost, in_this_process
from reflector_gpu.deploy.remote_workers import portable
from reflector_gpu.engines.diarization.base import FileRecording, PcmRecording
from reflector_gpu.engines.recognition import scripted
from reflector_gpu.engines.recognition.base import RecogniserModel
from reflector_gpu.errors import (
    EngineFailed,
    EngineNotLoaded,
    InvalidRequest,
    ModelNotInstalled,
    ReflectorError,
    ShuttingDown,
)
from reflector_gpu.pcm import PcmFile
from reflector_gpu.runtime.pool import Pool
from reflector_gpu.settings import load_settings
from reflector_gpu.types import Recognition, Samples, TranscribeOptions
from tests.waiting import PATIENCE_SECONDS, until

pytestmark = pytest.mark.slow

SECOND = np.zeros(16_000, np.float32)
ENGLISH, FRENCH = TranscribeOptions("en"), TranscribeOptions("fr")


class Engine:
    """Waits until it may go on; knows what it was given. Samples of 1 are refused, of 2 fatal."""

    go_on = threading.Event()
    batches: ClassVar[list[tuple[int, TranscribeOptions]]] = []
    loading: ClassVar[list[Exception]] = []

    def load(self) -> None:
        if Engine.loading:
            raise Engine.loading.pop(0)

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        Engine.batches.append((len(chunks), options))
        assert Engine.go_on.wait(PATIENCE_SECONDS)
        if any(chunk[0] == 2 for chunk in chunks):
            raise RuntimeError("out of memory")
        return [InvalidRequest("no") if chunk[0] == 1 else Recognition() for chunk in chunks]

    def close(self) -> None:
        """Nothing to free."""


MODEL = RecogniserModel("mine", f"{__name__}:Engine", scripted.SPEC, "For tests", "MIT")


@pytest.fixture
def host() -> Iterator[EngineHost]:
    Engine.go_on.clear()
    Engine.batches.clear()
    Engine.loading.clear()
    host = EngineHost(MODEL, lambda: in_this_process(MODEL, "cpu", load_settings()))
    yield host
    Engine.go_on.set()
    host.close()


def test_calls_that_overlap_share_batches_if_their_options_agree(host: EngineHost) -> None:
    host.load()
    with ThreadPoolExecutor(6) as threads:
        calls = [threads.submit(host.run, [SECOND], ENGLISH)]
        until(lambda: Engine.batches)
        calls += [threads.submit(host.run, [SECOND, SECOND], ENGLISH) for _ in range(4)]
        calls.append(threads.submit(host.run, [SECOND], FRENCH))
        until(lambda: host.waiting == 9)
        Engine.go_on.set()
        found = [call.result() for call in calls]
    assert found == [[Recognition()], *[[Recognition()] * 2] * 4, [Recognition()]]
    assert sorted(Engine.batches, key=str) == [(1, ENGLISH), (1, FRENCH), (8, ENGLISH)]


def test_an_item_fails_alone_and_by_its_own_error(host: EngineHost) -> None:
    Engine.go_on.set()
    host.load()
    found = host.run([SECOND, SECOND + 1, SECOND + 2, SECOND], ENGLISH)
    assert [type(one) for one in found] == [Recognition, InvalidRequest, EngineFailed, Recognition]


@pytest.mark.parametrize(
    ("failure", "told"),
    [(ModelNotInstalled("not here"), ModelNotInstalled), (RuntimeError("CUDA"), EngineNotLoaded)],
)
def test_an_engine_that_does_not_load_is_the_answer_and_is_tried_again(
    host: EngineHost, failure: Exception, told: type[ReflectorError]
) -> None:
    Engine.go_on.set()
    Engine.loading.extend([failure] * 1000)  # the pool tries by itself as well
    host.load()
    (found,) = host.run([SECOND], ENGLISH)
    assert type(found) is told
    Engine.loading.clear()
    until(lambda: host.run([SECOND], ENGLISH) == [Recognition()])


@given(
    pcm=st.lists(st.integers(-32768, 32767), max_size=40),
    first=st.integers(-50, 50),
    length=st.integers(0, 100),
)
def test_a_recording_reads_the_same_wherever_it_is(pcm: list[int], first: int, length: int) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(np.array(pcm, "<i2").tobytes())
        file.flush()
        here = FileRecording(PcmFile(file.fileno()), [(0.0, 1.0)])
        there = portable(here)
        assert isinstance(there, PcmRecording)
        assert there.speech == here.speech
        assert there.seconds == here.seconds
        samples = there.pcm.read(first, first + length)
        assert samples.dtype == np.float32
        assert samples.tolist() == here.pcm.read(first, first + length).tolist()


def test_loading_again_after_a_failure_starts_afresh(host: EngineHost) -> None:
    Engine.go_on.set()
    # The pool would try by itself, but only after a pause that a snapshot may have frozen.
    Engine.loading.append(RuntimeError("CUDA"))
    host.load()
    assert not Engine.loading
    host.load()
    assert not host.failed
    assert host.run([SECOND], ENGLISH) == [Recognition()]


def test_a_call_of_which_not_all_can_be_taken_leaves_nothing_behind(
    host: EngineHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.load()
    put = Pool.put

    def refuses(pool: Pool[object, object], item: object, *group: object, **more: Any) -> object:
        if item is FRENCH:
            raise ShuttingDown("no more")
        return put(pool, item, *group, **more)

    monkeypatch.setattr(Pool, "put", refuses)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(host.run, [SECOND], ENGLISH)
        until(lambda: Engine.batches)
        found = host.run([SECOND, SECOND, FRENCH], ENGLISH)
        assert [type(one) for one in found] == [ShuttingDown] * 3
        Engine.go_on.set()
        assert call.result() == [Recognition()]
    assert host.run([SECOND], ENGLISH) == [Recognition()]
    assert Engine.batches == [(1, ENGLISH)] * 2


def test_a_load_that_failed_goes_on_no_more_once_it_is_done_anew(host: EngineHost) -> None:
    Engine.loading.extend(RuntimeError("no") for _ in range(1000))
    host.load()
    assert host.failed
    Engine.loading.clear()
    host.load()
    assert len([thread for thread in threading.enumerate() if thread.name.startswith("mine")]) == 1


def test_a_recording_is_in_memory_once() -> None:
    size = 32_000_000
    with tempfile.TemporaryFile() as file:
        file.truncate(size)
        here = FileRecording(PcmFile(file.fileno()), [])
        tracemalloc.start()
        try:
            there = portable(here)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert isinstance(there, PcmRecording)
    assert there.pcm.length == size // 2
    assert peak < 1.1 * size


def test_a_stream_that_is_given_up_while_it_waits_ends_at_once(host: EngineHost) -> None:
    host.load()
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(host.run, [SECOND], ENGLISH)
        until(lambda: Engine.batches)  # the engine is busy, and says nothing
        waiting = host.stream([SECOND], FRENCH)
        waiting.give_up()
        (outcomes,) = waiting
        assert isinstance(outcomes, list)
        assert [type(one) for one in outcomes] == [EngineFailed]
        Engine.go_on.set()
        assert first.result() == [Recognition()]
