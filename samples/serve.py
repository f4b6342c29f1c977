"""Keep a server running for somebody who wants to try it: `make serve`."""

from __future__ import annotations

import contextlib
import os
import sys

from samples import weights
from samples.server import server


def main() -> None:
    port = chosen_port()
    weights.pull()
    with contextlib.suppress(KeyboardInterrupt), server(port=port) as running:
        print(
            f"\nServing at {running.url} with the key {running.key}\nTry:\n\n"
            f"  curl {running.url}/v1/audio/transcriptions \\\n"
            f'    -H "Authorization: Bearer {running.key}" -F file=@samples/standup.mp3\n\n'
            "Ctrl-C stops it.",
            flush=True,
        )
        running.process.wait()


def chosen_port() -> int:
    """What the variable PORT says, or REFLECTOR_PORT as everywhere else."""
    typed = os.environ.get("PORT") or os.environ.get("REFLECTOR_PORT") or "8000"
    if not typed.isdecimal() or int(typed) > 65535:
        sys.exit(f"PORT={typed} is no port: it is a number up to 65535, or 0 for a free one.")
    return int(typed)


if __name__ == "__main__":
    main()
