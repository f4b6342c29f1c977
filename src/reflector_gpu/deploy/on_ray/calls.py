"""Workers that are replicas of a deployment on Ray: each is a call that may run at once.

A call that Ray loses with its replica has failed from outside, as a call of a container elsewhere
has. So the pool makes it again, and Ray gives it to another replica.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any, Protocol

from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException

from reflector_gpu.deploy.on_ray.options import apart
from reflector_gpu.deploy.remote_workers import Remote, RemoteStream, Reply
from reflector_gpu.engines.base import AnyModel
from reflector_gpu.errors import EngineFailed, Overloaded, ReflectorError
from reflector_gpu.service.worker_pools import StarterElsewhere
from reflector_gpu.types import Priority

logger = logging.getLogger(__name__)

CALL_SECONDS = 600.0  # of a batch, the wait for a replica included
_RECORDING_SECONDS = 3 * 3600.0  # the same for a whole recording
_RETRY_SECONDS = 5.0  # when to come back if all replicas are busy
_UNAVAILABLE_SECONDS = 30.0


class Handle(Protocol):
    """What is used of a `ray.serve.handle.DeploymentHandle`."""

    run: Any
    stream: Any

    def options(self, *, stream: bool) -> Handle: ...


def workers(
    model: AnyModel, handle: Handle, calls: Mapping[Priority, int]
) -> Mapping[Priority, Sequence[StarterElsewhere]]:
    """Workers of ``model`` for a server: one for each of its ``calls`` that may run at once."""
    return {
        priority: [_worker(model, handle, priority)] * count for priority, count in calls.items()
    }


def _worker(model: AnyModel, handle: Handle, priority: Priority) -> StarterElsewhere:
    most = 1 if apart(model) else None
    if model.capability.streams:
        return RemoteStream(Stream(handle.options(stream=True), priority), most)
    seconds = _RECORDING_SECONDS if model.capability.whole_recordings else CALL_SECONDS
    return Remote(_Call(handle, priority, seconds), most)


class _Call:
    """A `deploy.remote_workers.Call`."""

    def __init__(self, handle: Handle, priority: Priority, seconds: float) -> None:
        self._handle = handle
        self._priority = priority
        self._seconds = seconds

    def __call__(self, items: Sequence[object], options: object) -> Sequence[object]:
        response = self._handle.run.remote(items, options, self._priority)
        try:
            found: Sequence[object] = response.result(timeout_s=self._seconds)
        except (BackPressureError, DeploymentUnavailableError) as refusal:
            return [refused(refusal) for _ in items]
        except TimeoutError:
            response.cancel()
            return [EngineFailed("The engine took too long.") for _ in items]
        return found


class Stream:
    """A `deploy.remote_workers.StreamingCall`."""

    def __init__(self, handle: Handle, priority: Priority, seconds: float = CALL_SECONDS) -> None:
        self._handle = handle
        self._priority = priority
        self._seconds = seconds

    def __call__(self, items: Sequence[object], options: object) -> Generator[Reply, None, None]:
        response = self._handle.stream.remote(items, options, self._priority)
        late = threading.Event()

        def end() -> None:
            late.set()
            response.cancel()

        limit = threading.Timer(self._seconds, end)
        limit.daemon = True
        limit.start()
        try:
            yield from response
        except (BackPressureError, DeploymentUnavailableError) as refusal:
            yield [refused(refusal) for _ in items]
        except (RayError, RayServeException, CancelledError):
            if not late.is_set():
                raise
            yield [EngineFailed("The engine took too long.") for _ in items]
        finally:
            limit.cancel()
            response.cancel()  # has no effect on one that is done


def refused(refusal: Exception) -> ReflectorError:
    """Our error for a call that Ray has not begun."""
    if isinstance(refusal, BackPressureError):
        return Overloaded(
            "All replicas of the engine are busy, and enough requests wait for them; "
            "try again later.",
            retry_after=_RETRY_SECONDS,
        )
    logger.error("Ray has no replica of the engine: %s", refusal)
    return EngineFailed("The engine is not deployed at present.", retry_after=_UNAVAILABLE_SECONDS)
