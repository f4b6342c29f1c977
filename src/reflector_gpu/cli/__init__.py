"""The program ``reflector-gpu``.

`commands` holds what can be typed and imports nothing heavy, so that ``--help`` is instant. Each
command is one call into the module of its name, which imports what it needs.
"""

from __future__ import annotations

import sys

from reflector_gpu.cli import interrupt


def main() -> None:
    """Run the command line. Status 0: done; 1: some of it failed; 2: it could not start."""
    interrupt.exit_at_once()

    # Not at the top: Ctrl-C would end these imports with a traceback.
    from reflector_gpu.cli.commands import app
    from reflector_gpu.errors import ReflectorError

    try:
        app(prog_name="reflector-gpu")
    except ReflectorError as error:
        from reflector_gpu.cli.hints import message_of

        sys.stderr.write(f"Error: {message_of(error)}\n")
        sys.exit(2)
