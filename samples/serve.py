"""Keep a server running for somebody who wants to try it: `make serve`."""

from __future__ import annotations

import contextlib
import os

from samples.server import server


def main() -> None:
    with (
        contextlib.suppress(KeyboardInterrupt),
        server(port=int(os.environ.get("PORT", "8000"))) as running,
    ):
        print(
            f"\nServing at {running.url} with the key {running.key}\nTry:\n\n"
            f"  curl {running.url}/v1/audio/transcriptions \\\n"
            f'    -H "Authorization: Bearer {running.key}" -F file=@samples/standup.mp3\n\n'
            "Ctrl-C stops it.",
            flush=True,
        )
        running.process.wait()


if __name__ == "__main__":
    main()
