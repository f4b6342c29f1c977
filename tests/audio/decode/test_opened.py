"""Recordings in files that a program has opened."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from reflector_gpu.audio.opened import spool_of

CONTENT = bytes(range(256)) * 1000  # more than a spool has in memory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "recording"
    path.write_bytes(CONTENT)
    return path


def read(file: BinaryIO) -> bytes:
    with spool_of(file) as spool:
        assert spool.complete
        return spool.reader().read(len(CONTENT))


def zipped(path: Path) -> BinaryIO:
    path.write_bytes(gzip.compress(CONTENT))
    return cast("BinaryIO", gzip.open(path))


KINDS: list[Callable[[Path], BinaryIO]] = [
    lambda path: path.open("rb"),
    lambda path: path.open("r+b"),
    io.FileIO,
    lambda path: io.BytesIO(path.read_bytes()),
    zipped,
]


@pytest.mark.parametrize("opened", KINDS)
def test_what_is_in_a_file_is_read_and_the_file_stays_open(
    opened: Callable[[Path], BinaryIO], path: Path
) -> None:
    with opened(path) as file:
        assert read(file) == CONTENT
        file.seek(5)
        assert read(file) == CONTENT[5:]
        assert not file.closed


def test_a_file_on_disk_is_not_copied(path: Path) -> None:
    with path.open("rb") as file, spool_of(file) as spool:
        assert os.path.sameopenfile(spool.fileno(), file.fileno())


def test_a_pipe_is_read_to_its_end() -> None:
    writing = [sys.executable, "-c", "import sys; sys.stdout.write('x' * 100_000)"]
    with subprocess.Popen(writing, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert read(process.stdout) == b"x" * 100_000  # type: ignore[arg-type]


def test_text_is_refused() -> None:
    with pytest.raises(TypeError, match="binary mode"):
        spool_of(io.StringIO("words"))  # type: ignore[arg-type]
