"""Ctrl-C: ends the program at once while it starts, as `KeyboardInterrupt` once it works.

Raised in the middle of an import, the exception would come out as a traceback of somebody else's.
"""

from __future__ import annotations

import signal


def ends() -> None:
    """From here on Ctrl-C ends the process without a word, unless it is ignored altogether."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raises() -> None:
    """From here on Ctrl-C raises `KeyboardInterrupt` again: there is something to clean up."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
