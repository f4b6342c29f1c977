"""Ctrl-C: while the program starts it exits at once, later it raises `KeyboardInterrupt`.

Raised in the middle of an import, the exception would show a traceback of some library.
"""

from __future__ import annotations

import signal


def exit_at_once() -> None:
    """Have Ctrl-C end the process without a word from now on, unless the signal is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_error() -> None:
    """Have Ctrl-C raise `KeyboardInterrupt` again, because there is something to clean up."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
