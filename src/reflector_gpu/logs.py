"""The log: one form for this package, uvicorn and the libraries under them, in every process.

It is text for people, or JSON, one object a line, for what collects logs. While a request is worked
on, all that is logged of it has its id.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from reflector_gpu.escaping import escaped

LogFormat: TypeAlias = Literal["text", "json"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

REQUEST_ID = "request_id"
"""The field that has the id of a request."""

_LINE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_TIME = "%Y-%m-%dT%H:%M:%S%z"

_fields: ContextVar[Mapping[str, str]] = ContextVar("fields of the log", default={})  # noqa: B039  never changed


@dataclass(frozen=True, slots=True)
class Event:
    """A record in parts: ``logger.info("...", extra=Event(...).extra)``.

    JSON has the ``message`` and ``fields``. Text has what is logged, which says the same.
    """

    message: str
    fields: Mapping[str, str | int | float] = field(default_factory=dict)

    @property
    def extra(self) -> dict[str, object]:
        return {"event": self}


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How to log. Another process can be told to do the same."""

    level: LogLevel = "info"
    form: LogFormat = "text"


_chosen: LogOptions | None = None


@contextmanager
def log_fields(**fields: str) -> Iterator[None]:
    """Have ``fields`` in all that is logged in this context.

    After an error they stay, so that they are logged with it.
    """
    token = _fields.set({**_fields.get(), **fields})
    yield
    _fields.reset(token)


def chosen() -> LogOptions | None:
    """The options of `configure`; None before it was called."""
    return _chosen


def configure(options: LogOptions) -> None:
    """Log to standard error. Libraries may only warn, because httpx would log presigned URLs."""
    global _chosen  # noqa: PLW0603  as logging itself is global
    _chosen = options
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if options.form == "json" else _OneLine(_LINE, _TIME))
    handler.addFilter(_is_failure)
    handler.addFilter(_tone_down)
    own = logging.getLevelNamesMapping()[options.level.upper()]
    logging.basicConfig(handlers=[handler], level=max(own, logging.WARNING), force=True)
    logging.getLogger("reflector_gpu").setLevel(own)
    # It warns of every malformed form. The client gets an error for it, and that is logged.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    if own <= logging.DEBUG:
        logging.getLogger("uvicorn").setLevel(logging.INFO)


def discard() -> None:
    """Drop what this package logs: the command shows its errors itself."""
    logging.getLogger("reflector_gpu").addHandler(logging.NullHandler())


class _OneLine(logging.Formatter):
    """Escapes control characters: a path from a client must not begin a line of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the base's name
        line = escaped(super().formatMessage(record))
        request_id = _fields.get().get(REQUEST_ID)
        return f"{line} id={request_id}" if request_id and not _event(record) else line

    def formatException(self, ei: Any) -> str:  # noqa: N802  the base's name
        return "\n".join(map(escaped, super().formatException(ei).split("\n")))


class _Json(logging.Formatter):
    """One object a line. All but ASCII is escaped, so nothing in it can end the line."""

    def format(self, record: logging.LogRecord) -> str:
        event = _event(record)
        found: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": event.message if event else record.getMessage(),
            **_fields.get(),
            **(event.fields if event else {}),
        }
        if record.exc_info:
            found["exception"] = self.formatException(record.exc_info)
        return json.dumps(found)


def _event(record: logging.LogRecord) -> Event | None:
    event = getattr(record, "event", None)
    return event if isinstance(event, Event) else None


def _is_failure(record: logging.LogRecord) -> bool:
    """False for requests that uvicorn cancels at shutdown, which it logs as bugs of the app."""
    if not record.exc_info:
        return True
    import asyncio  # here, because workers need none, and it takes long

    return not isinstance(record.exc_info[1], asyncio.CancelledError)


def _tone_down(record: logging.LogRecord) -> bool:
    """Make a warning of uvicorn's error about requests that it cancelled at shutdown: the operator
    has set how long they may take."""
    if record.name == "uvicorn.error" and str(record.msg).startswith("Cancel %s running task"):
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg = "Requests cut off when the server stopped: %s"
    return True
