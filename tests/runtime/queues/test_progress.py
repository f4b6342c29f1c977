"""What the service hears of a batch from a worker in the middle of it."""

from __future__ import annotations

from multiprocessing import Pipe

import pytest

from reflector_gpu.runtime.worker_process import PipeProgress, Said


def test_nothing_is_not_said() -> None:
    """It would begin an answer, which is then not given again elsewhere if this worker dies."""
    here, there = Pipe()
    progress = PipeProgress(there, {0})
    for part in ("", "word", ""):
        assert not progress.say(0, part)
    progress.say(1, "unheard")
    there.close()
    assert here.recv() == Said(0, "word")
    with pytest.raises(EOFError):
        here.recv()
