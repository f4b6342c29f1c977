"""One form of log line for this package, uvicorn and the libraries under them."""

from __future__ import annotations

import asyncio
import logging

_LINE = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_TIME = "%Y-%m-%dT%H:%M:%S%z"
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}


class _OneLine(logging.Formatter):
    """Paths come from clients: what they hold must not begin a line of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the base's name
        return super().formatMessage(record).translate(_CONTROL)


def configure(level: str) -> None:
    """Log to standard error. Only warnings of libraries: httpx would log presigned URLs."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine(_LINE, _TIME))
    handler.addFilter(_is_news)
    handler.addFilter(_as_asked_for)
    own = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(handlers=[handler], level=max(own, logging.WARNING), force=True)
    logging.getLogger("reflector_gpu").setLevel(own)
    # It warns of every form that a client got wrong; the client is told, and that is logged.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    if own <= logging.DEBUG:
        logging.getLogger("uvicorn").setLevel(logging.INFO)


def _is_news(record: logging.LogRecord) -> bool:
    """Uvicorn takes requests that it cancels itself, when time is up, for bugs of the app."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _as_asked_for(record: logging.LogRecord) -> bool:
    """Make a warning of what uvicorn says when it ends requests that did not finish in the time
    that the operator gives them: that is no error."""
    if record.name == "uvicorn.error" and str(record.msg).startswith("Cancel %s running task"):
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg = "Requests that the time to finish was too short for: %s"
    return True


def discard() -> None:
    """Say nothing of what this package logs: the command raises it, or shows it, itself."""
    logging.getLogger("reflector_gpu").addHandler(logging.NullHandler())
