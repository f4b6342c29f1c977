"""The folder for temporary files: private, one for each process, and gone afterwards."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from reflector_gpu.audio.scratch import ScratchFolder
from reflector_gpu.audio.spool import IN_MEMORY, Spool

ANOTHER = """
import os, sys
from pathlib import Path
from reflector_gpu.audio.scratch import ScratchFolder
scratch = ScratchFolder(Path(sys.argv[1]))
Path(scratch, "left").touch()
print(os.fspath(scratch), flush=True)
sys.stdin.read()
"""


@contextmanager
def another(parent: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """Another process, and its folder in ``parent``. It ends with the block at the latest."""
    with subprocess.Popen(
        [sys.executable, "-c", ANOTHER, str(parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        yield Path(process.stdout.readline().strip()), process


def test_it_is_made_when_it_is_needed_and_nobody_else_can_enter_it(tmp_path: Path) -> None:
    with closing(ScratchFolder(tmp_path)) as scratch:
        assert not list(tmp_path.iterdir())
        path = Path(scratch)
        assert [path] == list(tmp_path.iterdir())
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert Path(scratch) == path
    assert not list(tmp_path.iterdir())


def test_without_a_setting_it_is_where_the_system_has_such_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with closing(ScratchFolder()) as scratch:
        assert Path(scratch).parent == tmp_path


def test_what_is_in_it_goes_with_it(tmp_path: Path) -> None:
    with closing(ScratchFolder(tmp_path)) as scratch:
        Path(scratch, "folder").mkdir()
        Path(scratch, "folder", "file").touch()
    scratch.close()  # which is safe to do twice
    assert not list(tmp_path.iterdir())


def test_it_is_made_anew_if_somebody_has_cleared_it_out(tmp_path: Path) -> None:
    with closing(ScratchFolder(tmp_path)) as scratch, Spool(10**6, scratch) as spool:
        shutil.rmtree(scratch)
        spool.write(bytes(IN_MEMORY + 1))
        assert Path(scratch).is_dir()
        assert spool.fileno()


def test_a_killed_processs_folder_is_removed_and_a_live_ones_is_not(
    tmp_path: Path,
) -> None:
    with another(tmp_path) as (dead, killed), another(tmp_path) as (alive, _):
        killed.kill()
        killed.wait()
        with closing(ScratchFolder(tmp_path)) as first, closing(ScratchFolder(tmp_path)) as second:
            ours = {Path(first), Path(second)}
            assert set(tmp_path.iterdir()) == {alive, *ours}
            assert Path(alive, "left").exists()
        assert dead not in tmp_path.iterdir()


def test_it_is_removed_by_a_program_that_ends_without_closing_it(tmp_path: Path) -> None:
    with another(tmp_path) as (path, process):
        assert path.is_dir()
        assert process.stdin
        process.stdin.close()
        assert process.wait() == 0
    assert not list(tmp_path.iterdir())


def test_a_forked_copy_of_the_program_leaves_it_alone(tmp_path: Path) -> None:
    code = ANOTHER + "os.fork() and os.wait()\nassert Path(scratch, 'left').exists() or os.abort()"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0
    assert not list(tmp_path.iterdir())


def test_nothing_else_is_touched(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    parent = tmp_path / "parent"
    parent.mkdir()
    (parent / "reflector-gpu-link").symlink_to(elsewhere)
    (parent / "reflector-gpu-file").touch()
    (parent / "another").mkdir()
    before = set(parent.iterdir())
    with closing(ScratchFolder(parent)) as scratch:
        assert {Path(scratch), *before} == set(parent.iterdir())
    assert set(parent.iterdir()) == before
    assert elsewhere.is_dir()
