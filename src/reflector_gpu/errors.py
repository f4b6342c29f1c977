"""All errors of this package. The API maps them to HTTP in one place (`api.errors`).

    ReflectorError
    ├── InvalidRequest            a field or a file cannot be used
    │   ├── UnsupportedLanguage
    │   ├── UndecodableAudio      the bytes are no audio that we can decode
    │   ├── ContextExceeded       more tokens than the language model reads
    │   ├── ChecksumMismatch      the bytes of an upload are not those that were meant
    │   ├── UnsupportedMediaType  the body is of another type than the route takes
    │   ├── UnsupportedVersion    the client speaks another version of a protocol
    │   └── SessionExpired        a realtime session has lasted as long as it may
    ├── Unauthorized              no key, or a wrong one
    ├── Forbidden                 the key does not allow this
    ├── UrlForbidden              the address policy refuses this URL
    ├── OriginForbidden           a page of another web origin asks without a key
    ├── AudioNotFound             the audio URL answers 404
    ├── Conflict                  the request contradicts what is stored
    ├── NotFound                  the client has no such job, upload or file
    ├── NotConfigured             the operator has not set up what this needs
    ├── UnknownModel
    ├── TooLarge                  more bytes or seconds than the limits allow
    ├── Overloaded                the queue is full: come back after `retry_after` seconds
    │   └── QuotaExceeded         the key has used its share of the day
    ├── Unavailable               not possible now: come back after `retry_after` seconds
    │   ├── ModelNotInstalled
    │   ├── EngineLoading
    │   ├── EngineNotLoaded       the engine does not load: no piece of work has a chance
    │   ├── EngineFailed          the engine gave up on this piece of work; others may succeed
    │   ├── StorageFull
    │   └── ShuttingDown
    ├── ClientTooSlow             the request stopped arriving
    ├── DeadlineExceeded          the time limit of the client or the server is over
    ├── UpstreamFailed            another server fails, such as the audio host
    ├── UpstreamTimeout           another server is too slow
    └── ConfigurationError        the operator's settings do not work

Errors also inherit from the builtin that users of the library would expect. A message says what to
do, and never has a key, a local path or a traceback.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class ReflectorError(Exception):
    """Base of every error that this package raises on purpose."""

    code = "error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process boundaries; keyword arguments do not survive the default pickling.
        return _restore, (type(self), self.message, dict(self.__dict__))


def _restore(kind: type[ReflectorError], message: str, state: dict[str, object]) -> ReflectorError:
    error = kind.__new__(kind, message)
    error.args = (message,)
    error.__dict__.update(state)
    return error


class InvalidRequest(ReflectorError, ValueError):
    code = "invalid_request"


class UnsupportedLanguage(InvalidRequest):
    code = "unsupported_language"


class UndecodableAudio(InvalidRequest):
    code = "undecodable_audio"


class ContextExceeded(InvalidRequest):
    code = "context_length_exceeded"


class SessionExpired(InvalidRequest):
    code = "session_expired"


class ChecksumMismatch(InvalidRequest):
    code = "checksum_mismatch"


class UnsupportedMediaType(InvalidRequest):
    code = "unsupported_media_type"


class UnsupportedVersion(InvalidRequest):
    code = "unsupported_version"


class Unauthorized(ReflectorError, PermissionError):
    code = "invalid_api_key"


class Forbidden(ReflectorError, PermissionError):
    code = "insufficient_scope"


class UrlForbidden(ReflectorError, PermissionError):
    code = "url_forbidden"


class OriginForbidden(ReflectorError, PermissionError):
    code = "origin_forbidden"


class AudioNotFound(ReflectorError, FileNotFoundError):
    code = "audio_not_found"


class Conflict(ReflectorError, ValueError):
    code = "conflict"


class NotFound(ReflectorError, LookupError):
    code = "not_found"


class NotConfigured(ReflectorError, LookupError):
    """The operator has not set up what this needs, and asking again does not help."""

    code = "not_configured"


class UnknownModel(ReflectorError, LookupError):
    code = "model_not_found"


class TooLarge(ReflectorError, ValueError):
    code = "too_large"


class Overloaded(ReflectorError):
    """The service is at its limit. Nothing was started for this request."""

    code = "overloaded"

    def __init__(self, message: str, *, retry_after: float, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.retry_after = retry_after


class QuotaExceeded(Overloaded):
    code = "quota_exceeded"


class Unavailable(ReflectorError):
    code = "unavailable"

    def __init__(self, message: str, *, retry_after: float = 5.0, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.retry_after = retry_after


class ModelNotInstalled(Unavailable):
    """The operator has to install something first."""

    code = "model_not_installed"

    def __init__(
        self, message: str, *, retry_after: float = 3600.0, param: str | None = None
    ) -> None:
        super().__init__(message, retry_after=retry_after, param=param)


class EngineLoading(Unavailable):
    code = "engine_loading"


class EngineNotLoaded(Unavailable):
    code = "engine_failed"


class EngineFailed(Unavailable):
    code = "engine_failed"


class StorageFull(Unavailable, OSError):
    code = "storage_full"


class ShuttingDown(Unavailable):
    code = "shutting_down"


class ClientTooSlow(ReflectorError, TimeoutError):
    code = "request_timeout"


class DeadlineExceeded(ReflectorError, TimeoutError):
    code = "deadline_exceeded"


class UpstreamFailed(ReflectorError, ConnectionError):
    code = "upstream_failed"


class UpstreamTimeout(ReflectorError, TimeoutError):
    code = "upstream_timeout"


class ConfigurationError(ReflectorError, ValueError):
    code = "configuration_error"


@contextmanager
def blaming(fields: Mapping[str, str]) -> Iterator[None]:
    """Have errors name the client's field instead of our parameter.

    ``fields`` has the client's fields by our parameters.
    """
    try:
        yield
    except ReflectorError as error:
        error.param = fields.get(error.param or "", error.param)
        raise


def release_frames(error: BaseException) -> None:
    """Drop the tracebacks of ``error`` and of its causes.

    They keep alive the variables of every function that the error passed through, such as a
    recording. If the error is part of a cycle of references, that lasts until the garbage collector
    runs.
    """
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            waiting += [one.__cause__, one.__context__]
