"""One form of log line for this package, uvicorn and the libraries under them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from reflector_gpu.escaping import escaped

_LINE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_TIME = "%Y-%m-%dT%H:%M:%S%z"


class _OneLine(logging.Formatter):
    """Escapes control characters: a path from a client must not begin a line of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the base's name
        return escaped(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802  the base's name
        return "\n".join(map(escaped, super().formatException(ei).split("\n")))


def configure(level: str) -> None:
    """Log to standard error. Libraries may only warn, because httpx would log presigned URLs."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine(_LINE, _TIME))
    handler.addFilter(_is_failure)
    handler.addFilter(_tone_down)
    own = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(handlers=[handler], level=max(own, logging.WARNING), force=True)
    logging.getLogger("reflector_gpu").setLevel(own)
    # It warns of every malformed form. The client gets an error for it, and that is logged.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    if own <= logging.DEBUG:
        logging.getLogger("uvicorn").setLevel(logging.INFO)


def _is_failure(record: logging.LogRecord) -> bool:
    """False for requests that uvicorn cancels at shutdown, which it logs as bugs of the app."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _tone_down(record: logging.LogRecord) -> bool:
    """Make a warning of uvicorn's error about requests that it cancelled at shutdown: the operator
    has set how long they may take."""
    if record.name == "uvicorn.error" and str(record.msg).startswith("Cancel %s running task"):
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg = "Requests cut off when the server stopped: %s"
    return True


def discard() -> None:
    """Drop what this package logs: the command shows its errors itself."""
    logging.getLogger("reflector_gpu").addHandler(logging.NullHandler())
