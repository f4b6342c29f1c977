"""Long recordings, which several threads of a decoder share."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from reflector_gpu.audio.decode import decode
from reflector_gpu.audio.spool import Spool
from reflector_gpu.decoding.messages import Ended
from reflector_gpu.decoding.tasks import Sampling
from reflector_gpu.errors import TooLarge
from reflector_gpu.types import SOUND, Samples
from tests.audio.media import Form, encode
from tests.waiting import until

STEREO = Form("mp3", "libmp3lame", 44_100, "stereo")
"""Needs to be resampled."""

MONO = replace(STEREO, rate=16_000, layout="mono")


@pytest.fixture(scope="module")
def stereo(speech: Samples) -> bytes:
    return encode(speech, STEREO)


@pytest.fixture(scope="module")
def mono(speech: Samples) -> bytes:
    return encode(speech, MONO)


@pytest.mark.parametrize("form", ["stereo", "mono"])
def test_threads_find_what_one_thread_finds(form: str, request: pytest.FixtureRequest) -> None:
    data: bytes = request.getfixturevalue(form)
    with _spooled(data) as spool, _spooled(data) as other:
        *_, (ended, result) = Sampling(100.0).run(spool.reader(), None, lambda _: None)
        alone = np.concatenate(list(decode(other.reader())))
    assert isinstance(ended, Ended)
    assert ended.condition == SOUND
    assert np.array_equal(np.frombuffer(result, np.float32), alone)


def test_an_error_ends_all_threads(stereo: bytes) -> None:
    with (
        _spooled(stereo) as spool,
        pytest.raises(TooLarge, match="longer than this server's limit of 50 seconds"),
    ):
        list(Sampling(50.0).run(spool.reader(), None, lambda _: None))
    until(lambda: all(thread.name != "prefetch" for thread in threading.enumerate()))


def _spooled(data: bytes) -> Spool:
    spool = Spool(len(data))
    spool.write(data)
    spool.finish()
    return spool
