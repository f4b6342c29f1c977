"""The installed program as a process of its own, with none of this session's settings."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.waiting import PROGRAM_SECONDS

PROGRAM = str(Path(sys.executable).with_name("reflector-gpu"))


def environment(**settings: str) -> dict[str, str]:
    """This session's environment, with ``settings`` as the only ``REFLECTOR_`` variables."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("REFLECTOR_")}
    return {**inherited, **{f"REFLECTOR_{k}": v for k, v in settings.items()}}


def run(
    *arguments: str, env: Mapping[str, str] | None = None, stdin: IO[bytes] | int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        [PROGRAM, *arguments],
        env=env or environment(),
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )


class Running:
    """A process whose standard error can be read line by line while it runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.errors: list[str] = []
        self._grown = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, text: str) -> str:
        """The first line that holds ``text``."""
        with self._grown:
            found = self._grown.wait_for(
                lambda: next((line for line in self.errors if text in line), None),
                PROGRAM_SECONDS,
            )
        assert found, f"{text!r} not in: {''.join(self.errors)}"
        return found

    def stop(self, number: int) -> int:
        """Send a signal; the exit status."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> int:
        """Wait for the exit status."""
        status = self.process.wait(PROGRAM_SECONDS)
        self._reader.join()
        return status

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._grown:
                self.errors.append(line)
                self._grown.notify_all()


@contextmanager
def started(
    *arguments: str, env: Mapping[str, str] | None = None, files: int | None = None
) -> Iterator[Running]:
    """Start the program; it is killed if it still runs when the block ends.

    It may open so many ``files`` at once.
    """
    limited = ["sh", "-c", f'ulimit -n {files} && exec "$@"', "sh"] if files else []
    with subprocess.Popen(
        [*limited, PROGRAM, *arguments],
        env=env or environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        running = Running(process)
        try:
            yield running
        finally:
            process.kill()
            running.end()
