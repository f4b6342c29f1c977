"""What a server makes of a call that Ray refuses, loses, or does not end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from ray.exceptions import ActorDiedError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RequestCancelledError,
)

from reflector_gpu.api.app import create_app
from reflector_gpu.deploy.on_ray.calls import Stream, workers
from reflector_gpu.engines.recognition.catalog import MODELS
from reflector_gpu.engines.recognition.scripted import ScriptedRecogniser
from reflector_gpu.errors import EngineFailed
from reflector_gpu.settings import load_settings
from reflector_gpu.types import SAMPLE_RATE, Priority, Samples, TranscribeOptions
from tests.api.support import error_of, retry_after, upload, wav
from tests.live import KEY, LiveServer
from tests.waiting import PATIENCE_SECONDS


class Handle:
    """A handle of a deployment whose calls fail with ``failures``, one after the other."""

    def __init__(self, *failures: Exception) -> None:
        self.run = self
        self.stream = self
        self.calls = 0
        self.cancelled = 0
        self._failures = list(failures)

    def options(self, *, stream: bool) -> Handle:
        return self

    def remote(self, items: Sequence[Any], options: Any, priority: Priority) -> Handle:
        self.calls += 1
        self._items, self._options = items, options
        return self

    def result(self, *, timeout_s: float) -> Sequence[object]:
        if self._failures:
            raise self._failures.pop(0)
        assert isinstance(self._options, TranscribeOptions)
        return ScriptedRecogniser().transcribe(self._items, self._options)

    def cancel(self) -> None:
        self.cancelled += 1


def server(handle: Handle) -> LiveServer:
    calls = dict.fromkeys(Priority, 1)
    elsewhere = {"scripted": workers(MODELS["scripted"], handle, calls)}
    return LiveServer.over(create_app(load_settings(model="scripted", apikey=KEY), elsewhere))


@pytest.fixture(scope="module")
def clip(speech: Samples) -> bytes:
    return wav(speech[: 4 * SAMPLE_RATE])


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (BackPressureError(num_queued_requests=9, max_queued_requests=9), 429, "overloaded"),
        (DeploymentUnavailableError.__new__(DeploymentUnavailableError), 503, "engine_failed"),
        (TimeoutError(), 503, "engine_failed"),
    ],
    ids=["busy", "undeployed", "slow"],
)
def test_a_refusal_has_our_body_and_says_when_to_come_back(
    clip: bytes, failure: Exception, status: int, code: str
) -> None:
    handle = Handle(failure)
    with server(handle) as live:
        answer = upload(live, clip, data={"strict": "true"})
    assert error_of(answer, status)["code"] == code
    assert retry_after(answer) >= 1
    assert handle.calls == 1  # it is not made again
    assert handle.cancelled == isinstance(failure, TimeoutError)


def test_a_call_that_dies_with_its_replica_is_made_again(clip: bytes) -> None:
    handle = Handle(ActorDiedError())
    with server(handle) as live:
        answer = upload(live, clip)
    assert answer.status_code == 200, answer.text
    assert answer.json()["text"]
    assert handle.calls == 2


def test_a_stream_is_cancelled_when_nobody_listens() -> None:
    class Endless(Handle):
        def __iter__(self) -> Iterator[tuple[int, str]]:
            while True:
                yield 0, "a"

    handle = Endless()
    stream = Stream(handle, Priority.LIVE)([""], None)
    next(stream)
    stream.close()
    assert handle.cancelled == 1


def test_a_stream_that_says_nothing_ends_in_time() -> None:
    class Silent(Handle):
        def __iter__(self) -> Iterator[tuple[int, str]]:
            yield 0, "a"
            assert self.ended.wait(PATIENCE_SECONDS)
            raise RequestCancelledError

        def cancel(self) -> None:
            super().cancel()
            self.ended.set()

        ended = threading.Event()

    stream = Stream(Silent(), Priority.LIVE, seconds=0.01)(["x", "y"], None)
    _, outcomes = stream
    assert isinstance(outcomes, list)
    assert [type(one) for one in outcomes] == [EngineFailed, EngineFailed]
