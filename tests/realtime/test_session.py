"""Where turns begin and end, told by a session that recognises whatever a test says."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from reflector_gpu.live.base import Heard, LiveSpeakers
from reflector_gpu.realtime import session as session_module
from reflector_gpu.realtime.configuration import Configuration, Transcription
from reflector_gpu.realtime.server_events import ServerEvent
from reflector_gpu.realtime.session import Session
from reflector_gpu.runtime.admission import Admission, RecordingTally
from reflector_gpu.runtime.limits import Limits
from reflector_gpu.types import SAMPLE_RATE, Priority, Samples, Word

LIMITS = dict.fromkeys(Priority, Limits())


class Said:
    """An utterance in which ``text`` is heard at once, up to the end of its audio."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._seconds = 0.0
        self._news: asyncio.Queue[bool] = asyncio.Queue()

    def push(self, samples: Samples, probabilities: Samples | None = None) -> None:
        self._seconds += len(samples) / SAMPLE_RATE
        self._news.put_nowait(True)

    def finish(self) -> None:
        self._news.put_nowait(False)

    async def __aiter__(self) -> AsyncIterator[Heard]:
        while await self._news.get():
            yield Heard(tentative=self._words, language="en")
        yield Heard(settled=self._words, language="en")

    async def aclose(self) -> None:
        pass

    @property
    def _words(self) -> tuple[Word, ...]:
        words = self._text.split()
        step = self._seconds / max(1, len(words))
        return tuple(Word(word, n * step, (n + 1) * step) for n, word in enumerate(words))


class Speech:
    """What a session needs, all of whose utterances are ``text``.

    ``finished`` is what voices tell of the end in every pause.
    """

    def __init__(self, text: str, *, finished: bool | None = None) -> None:
        self._text = text
        self._finished = finished
        self._admission = Admission(LIMITS)
        self.seconds: list[float] = []

    def check(self, wanted: Transcription) -> None:
        pass

    async def transcriber(self, wanted: Transcription) -> Speech:
        return self

    def utterance(self) -> Said:
        return Said(self._text)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[RecordingTally]:
        with self._admission.permit(Priority.LIVE) as permit, permit.recording() as recording:
            yield recording

    def expect_pauses(self) -> None:
        pass

    async def finished(self, samples: Samples) -> bool | None:
        return self._finished

    async def check_options(self, wanted: Transcription) -> None:
        pass

    def speakers(self) -> LiveSpeakers:
        raise AssertionError("nobody asks for speakers here")

    async def translated(self, wanted: Transcription, text: str, language: str | None) -> str:
        raise AssertionError("nobody asks for translations here")

    def recognised(self, wanted: Transcription, seconds: float) -> None:
        self.seconds.append(seconds)

    def words_told(self, wanted: Transcription, delays: Sequence[float]) -> None:
        pass


def heard(
    text: str,
    audio: Samples,
    finished: bool | None = None,
    commit_every: int = 0,
    **settings: object,
) -> list[dict[str, Any]]:
    """The events of a session in which ``audio`` is said to be ``text``.

    The client ends a turn behind each ``commit_every`` pieces of 0.1 s.
    """
    found: list[dict[str, Any]] = []

    async def send(event: ServerEvent) -> None:
        found.append(json.loads(event.model_dump_json()))

    async def run() -> None:
        told = {"format": {"type": "audio/pcm", "rate": SAMPLE_RATE}, **settings}
        configuration = Configuration().updated({"audio": {"input": told}})
        speech = Speech(text, finished=finished)
        session = Session(speech, configuration, send, lifetime=60)
        data = np.round(audio * 32767).astype("<i2").tobytes()
        for begin in range(0, len(data), 3200):
            piece = base64.b64encode(data[begin : begin + 3200]).decode()
            await session.take(json.dumps({"type": "input_audio_buffer.append", "audio": piece}))
            if commit_every and begin // 3200 % commit_every == commit_every - 1:
                await session.take(json.dumps({"type": "input_audio_buffer.commit"}))
            await asyncio.sleep(0)
        await session.finish()
        await session.aclose()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())
    return found


@pytest.fixture(scope="module")
def audio(speech: Samples) -> Samples:
    """Two seconds of speech, and ten in which nobody speaks."""
    return np.concatenate(
        [speech[SAMPLE_RATE : 3 * SAMPLE_RATE], np.zeros(10 * SAMPLE_RATE)]
    ).astype(np.float32)


def last_stop(
    text: str, audio: Samples, finished: bool | None = None, **detection: object
) -> float:
    """Where the last turn ends, in seconds. Those before it end in the speaker's own pauses."""
    events = heard(text, audio, finished, turn_detection=detection)
    stops = [e["audio_end_ms"] for e in events if e["type"] == "input_audio_buffer.speech_stopped"]
    return float(stops[-1]) / 1000


def stopped_after(
    text: str, audio: Samples, finished: bool | None = None, **detection: object
) -> float:
    """Seconds of silence after which the last turn ended."""
    spoken = last_stop(text, audio, type="server_vad", silence_duration_ms=32) - 0.032
    return last_stop(text, audio, finished, **detection) - spoken


@pytest.mark.parametrize("milliseconds", [200, 500, 2000])
def test_a_silence_ends_a_turn(audio: Samples, milliseconds: int) -> None:
    found = stopped_after("and", audio, type="server_vad", silence_duration_ms=milliseconds)
    assert found == pytest.approx(milliseconds / 1000, abs=0.04)


@pytest.mark.parametrize(
    ("eagerness", "whole", "longest"),
    [("high", 0.3, 2), ("medium", 0.5, 4), ("auto", 0.5, 4), ("low", 0.8, 8)],
)
def test_the_end_of_a_sentence_ends_a_turn_sooner(
    audio: Samples, eagerness: str, whole: float, longest: float
) -> None:
    wanted: dict[str, Any] = {"type": "semantic_vad", "eagerness": eagerness}
    assert stopped_after("This is all.", audio, **wanted) == pytest.approx(whole, abs=0.1)
    assert stopped_after("This is the", audio, **wanted) == pytest.approx(longest, abs=0.1)


@pytest.mark.parametrize(
    ("eagerness", "complete", "longest"), [("high", 0.3, 2), ("medium", 0.5, 4), ("low", 0.8, 8)]
)
def test_where_voices_tell_the_end_words_need_no_full_stop(
    audio: Samples, eagerness: str, complete: float, longest: float
) -> None:
    wanted: dict[str, Any] = {"type": "semantic_vad", "eagerness": eagerness}
    assert stopped_after("This is all", audio, True, **wanted) == pytest.approx(complete, abs=0.1)
    assert stopped_after("This is the", audio, True, **wanted) == pytest.approx(longest, abs=0.1)
    assert stopped_after("This is all.", audio, False, **wanted) == pytest.approx(longest, abs=0.1)


def test_silence_alone_ends_a_turn_where_the_client_says_so(audio: Samples) -> None:
    wanted: dict[str, Any] = {"type": "server_vad", "silence_duration_ms": 500}
    assert stopped_after("and", audio, False, **wanted) == pytest.approx(0.5, abs=0.04)


def test_a_turn_that_never_ends_is_cut(speech: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_LONGEST_TURN", 5 * SAMPLE_RATE)
    events = heard("so on", speech[: 20 * SAMPLE_RATE], turn_detection=None)
    lengths = [e["usage"]["seconds"] for e in events if e["type"].endswith(".completed")]
    assert len(lengths) >= 3
    assert max(lengths) <= 5.3  # the silence before it counts here, and not as a part of the turn
    assert sum(lengths) == pytest.approx(20, abs=0.5)


def test_audio_of_turns_that_the_client_ends_is_counted_once(speech: Samples) -> None:
    silence = np.zeros(SAMPLE_RATE, np.float32)
    audio = np.concatenate([silence, speech[SAMPLE_RATE : 2 * SAMPLE_RATE], silence])
    events = heard("so on", audio, commit_every=1, turn_detection=None)
    lengths = [e["usage"]["seconds"] for e in events if e["type"].endswith(".completed")]
    assert lengths == [0.1] * 30
