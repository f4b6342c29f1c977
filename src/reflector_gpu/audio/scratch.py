"""A private folder for temporary files, which goes with its process, however that ends.

As a rule, files in it have no names, and vanish with the process that has them open. If a process
is killed, the folder itself stays behind, and the next process removes it with everything in it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
import threading
import weakref
from pathlib import Path

logger = logging.getLogger(__name__)

_PREFIX = "reflector-gpu-"


class ScratchFolder(os.PathLike[str]):
    """A folder that only this user can enter. It is made when it is first asked for.

    It is locked while its process lives, so that no other process takes it for a leftover.
    """

    def __init__(self, parent: Path | None = None) -> None:
        """It is made in ``parent``, or else in the system's folder for temporary files."""
        self._parent = Path(parent or tempfile.gettempdir())
        self._making = threading.Lock()
        self._made: _Locked | None = None

    def __fspath__(self) -> str:
        """
        Raises:
            OSError: it cannot be made.
        """
        with self._making:
            # A machine may clear out its temporary files in the middle of a long run.
            if self._made is None or not self._made.path.is_dir():
                _remove_leftovers(self._parent)
                self._made = _Locked(self._parent)
            return str(self._made.path)

    def close(self) -> None:
        """Remove it, with everything in it."""
        with self._making:
            if self._made:
                self._made.remove()
            self._made = None


class _Locked:
    """A new folder, and the lock that is held on it. It is removed with the program at the latest.

    A process that starts now may take the folder for a leftover before it is locked. Then another
    one is made.
    """

    def __init__(self, parent: Path) -> None:
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            lock = _opened(self.path)
            if lock is None:
                continue
            if not _is_locked_elsewhere(lock) and self.path.is_dir():
                break
            os.close(lock)
        self.remove = weakref.finalize(self, _remove, self.path, lock, os.getpid())


def _remove_leftovers(parent: Path) -> None:
    """Remove the folders of processes that no longer live."""
    for path in parent.glob(f"{_PREFIX}*"):
        lock = _opened(path)
        if lock is None:
            continue
        if _is_locked_elsewhere(lock):
            os.close(lock)
            continue
        logger.info("Temporary files of a process that was killed are removed: %s", path)
        _remove(path, lock, os.getpid())


def _opened(path: Path) -> int | None:
    """The folder ``path``, if it is one and belongs to this user."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    if os.fstat(folder).st_uid == os.geteuid():
        return folder
    os.close(folder)
    return None


def _is_locked_elsewhere(folder: int) -> bool:
    """Whether another process has locked it; if none has, it is locked from now on."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _remove(path: Path, lock: int, owner: int) -> None:
    if os.getpid() == owner:  # and not a copy of it that was forked
        shutil.rmtree(path, ignore_errors=True)
    os.close(lock)
