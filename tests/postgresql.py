"""A PostgreSQL for tests, started on a private port if it is installed."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.support import eventually


def binaries() -> Path | None:
    """Where the programs of PostgreSQL are. Debian has them in no folder of the path."""
    found = [Path(path) for path in (shutil.which("initdb"), shutil.which("pg_ctl")) if path]
    folders = [path.resolve().parent for path in found]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


@pytest.fixture(scope="session")
def cluster() -> Iterator[tuple[Path, int]]:
    """Where the programs of a server are that runs, and its port."""
    pytest.importorskip("pg8000")
    programs = binaries()
    if programs is None:
        pytest.skip("there is no PostgreSQL on this machine")
    user = "postgres" if os.getuid() == 0 else None  # it does not run as root
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as temporary:
        folder = Path(temporary)
        if user:
            shutil.chown(folder, user)
        data = folder / "data"
        subprocess.run(
            [str(programs / "initdb"), "-D", str(data), "-U", "tests", "--auth=trust", "--no-sync"],
            user=user,
            cwd=folder,
            check=True,
            capture_output=True,
        )
        with socket.socket() as taken:  # keeps the port for PostgreSQL, which may listen at it
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            options = ["-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-c", "fsync=off"]
            server = subprocess.Popen(
                [str(programs / "postgres"), "-D", str(data), *options],
                user=user,
                cwd=folder,
                stderr=subprocess.DEVNULL,
            )
            try:
                ready = [str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-q"]
                eventually(lambda: subprocess.run(ready, check=False).returncode == 0)
                yield programs, port
            finally:
                server.terminate()
                server.wait()


@pytest.fixture
def url(cluster: tuple[Path, int]) -> str:
    """A new database."""
    programs, port = cluster
    name = f"db{secrets.token_hex(4)}"
    where: list[str] = ["-h", "127.0.0.1", "-p", str(port), "-U", "tests"]
    subprocess.run([str(programs / "createdb"), *where, name], check=True)
    return f"postgresql://tests@127.0.0.1:{port}/{name}"
