"""Keep a server running for somebody who wants to try it: `make serve`."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys

from reflector_gpu.cli.listen import listen
from reflector_gpu.errors import ConfigurationError, ReflectorError
from reflector_gpu.settings import load_settings
from samples import weights
from samples.server import server


def main() -> None:
    argparse.ArgumentParser(
        prog="python -m samples.serve",
        description="Start a server with a key, and keep it running until Ctrl-C.",
        epilog="The variable PORT sets its port, 8000 if not set; 0 takes a free one.",
    ).parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        serve(chosen_port())


def serve(port: int) -> None:
    """Serve until Ctrl-C."""
    check_free(port)
    weights.pull()
    with server(port=port) as running:
        print(
            f"\nServing at {running.url} with the key {running.key}\nTry:\n\n"
            f"  curl {running.url}/v1/audio/transcriptions \\\n"
            f'    -H "Authorization: Bearer {running.key}" -F file=@samples/standup.mp3\n\n'
            "Ctrl-C stops it.",
            flush=True,
        )
        running.process.wait()


def chosen_port() -> int:
    """The port that the variable PORT names, or REFLECTOR_PORT as everywhere else."""
    typed = os.environ.get("PORT") or os.environ.get("REFLECTOR_PORT") or "8000"
    if not typed.isdecimal() or int(typed) > 65535:
        sys.exit(f"PORT={typed} is no port: it is a number up to 65535, or 0 for a free one.")
    return int(typed)


def check_free(port: int) -> None:
    """Exit if the port is taken, with advice that fits `make serve`: it has no --port."""
    try:
        host = load_settings().host
    except ReflectorError:
        return  # `serve` tells what is wrong
    try:
        listen(host, port).close()
    except ConfigurationError as error:
        sys.exit(f"{error.message.partition('. ')[0]}. Choose another port: make serve PORT=8001")


if __name__ == "__main__":
    main()
