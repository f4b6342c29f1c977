"""Engines that misbehave, and models made of them."""

from __future__ import annotations

import ctypes
import hashlib
import math
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from reflector_gpu.engines.capability import Batching
from reflector_gpu.engines.recognition import scripted
from reflector_gpu.engines.recognition.base import RecogniserModel, RecogniserSpec
from reflector_gpu.errors import ReflectorError
from reflector_gpu.types import (
    Recognition,
    Samples,
    Segment,
    SegmentScores,
    Token,
    TranscribeOptions,
    Word,
)


class Slow:
    """Loads until somebody has written to a named pipe."""

    def __init__(self, pipe: str) -> None:
        self._pipe = Path(pipe)

    def load(self) -> None:
        self._pipe.read_bytes()

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        return [Recognition() for _ in chunks]

    def close(self) -> None:
        """Nothing to free."""


class Broken(Slow):
    """Never loads."""

    def load(self) -> None:
        raise RuntimeError("the weights are corrupt")


class Deaf(Slow):
    """Finds no words in any speech."""

    def load(self) -> None:
        """Nothing to load."""


class Deadly(Slow):
    """Kills its process, whatever the audio."""

    def load(self) -> None:
        """Nothing to load."""

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        os._exit(1)


class Unreadable:
    """Can be pickled, but not unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return math.sqrt, (-1,)


def _raise() -> NoReturn:
    raise RuntimeError("a secret path: /home/me")


CRASHES: Mapping[str, Callable[[], object]] = {
    "segfault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "killed for its memory": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": threading.Event().wait,
}
"""Prompts that end the process."""

_word: Callable[..., Word] = Word
_token: Callable[..., Token] = Token
_segment: Callable[..., Segment] = Segment
_scores: Callable[..., SegmentScores] = SegmentScores
_heard: Callable[..., Recognition] = Recognition


def _one(word: object, scores: object = None) -> Recognition:
    return _heard((_segment(0.0, 1.0, "one", (word,), None, scores),))


GARBAGE: Mapping[str, object] = {
    "nothing": None,
    "text": "hello",
    "exception": ValueError("a secret path: /home/me"),
    "unpicklable": lambda: None,
    "unreadable": Unreadable(),
    "no segments": _heard(None),
    "words for segments": _heard((Word("one", 0.0, 1.0),)),
    "no words": _heard((_segment(0.0, 1.0, "one", None),)),
    "texts for words": _one("one"),
    "no text": _one(_word(None, 0.0, 1.0)),
    "bytes for text": _one(_word(b"one", 0.0, 1.0)),
    "half a character": _one(_word("\ud83d", 0.0, 1.0)),
    "no time": _one(_word("one", None, 1.0)),
    "text for time": _one(_word("one", 0.0, "1.0")),
    "endless time": _one(_word("one", 0.0, 10**400)),
    "numbers for tokens": _one(_word("one", 0.0, 1.0, tokens=(1, 2))),
    "text for a token's bytes": _one(_word("one", 0.0, 1.0, tokens=(_token(1, "one", -0.5),))),
    "number for speaker": _one(_word("one", 0.0, 1.0, None, 0)),
    "number for language": _heard((), 7),
    "no scores": _one(_word("one", 0.0, 1.0), _scores(None, None, None)),
}
"""Prompts for results that are not transcripts."""

MISCOUNTS: Mapping[str, Callable[[list[Any]], Any]] = {
    "too few": lambda answers: answers[:-1],
    "too many": lambda answers: [*answers, answers[0]],
    "none at all": lambda answers: None,
    "raise": lambda answers: _raise(),
}
"""Prompts that change the results of a whole batch."""

BAD_TIMES: Mapping[str, Callable[[Word], Word]] = {
    "not numbers": lambda word: replace(word, start=math.nan, end=math.nan),
    "infinite": lambda word: replace(word, start=-math.inf, end=math.inf),
    "backwards": lambda word: replace(word, start=9 - word.start, end=-word.end),
}
"""Prompts that change words, whose texts may still be right."""

LOUD = 0.95
"""A sample beyond it makes a chunk poisonous."""

HASTE_SECONDS = 0.05
"""A watchdog sleeps so long before it looks at its clock again."""


class Faulty(scripted.ScriptedRecogniser):
    """Hears what `scripted` hears, but does to what is poisonous what the prompt names.

    The prompt ``wait`` makes it wait for the file ``go`` in ``folder``; with ``die 7`` it waits to
    be killed after the first batch of its life, until that has been done 7 times; with ``killed
    thrice`` it is killed at the first three tries at every chunk. It does not load
    while there is the file ``shut``. All this is noted first: ``load``, ``batch`` with the number
    of items, ``die``, ``hang``, or ``killed`` with a chunk, each followed by the process id.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._batches = 0

    def load(self) -> None:
        self._note("load")
        _poll(lambda: not (self._folder / "shut").exists())

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        self._note(f"batch {len(chunks)}")
        self._batches += 1
        what, _, times = (options.prompt or "").partition(" ")
        if what == "wait":
            _poll((self._folder / "go").exists)
        if what == "die" and self._batches > 1 and self._noted("die") < int(times):
            self._note("die")
            threading.Event().wait()
        answers = super().transcribe(chunks, options)
        if options.prompt == "killed thrice":
            self._be_killed(answers)
        poisonous = [np.abs(samples).max() > LOUD for samples in chunks]
        if what == "hang" and any(poisonous):
            self._note("hang")
        return _spoilt(answers, poisonous, options.prompt or "") if any(poisonous) else answers

    def _be_killed(self, answers: Sequence[object]) -> None:
        """Unless each of the chunks, which ``answers`` tell apart, has been killed three times."""
        names = [hashlib.sha256(repr(answer).encode()).hexdigest() for answer in answers]
        if any(self._noted(name) < 3 for name in names):
            for name in names:
                self._note(f"killed {name}")
            os.kill(os.getpid(), signal.SIGKILL)

    def _note(self, what: str) -> None:
        with (self._folder / "notes").open("a") as file:
            file.write(f"{what} {os.getpid()}\n")

    def _noted(self, what: str) -> int:
        return (self._folder / "notes").read_text().count(what)


def _spoilt(answers: Sequence[Any], poisonous: Sequence[object], how: str) -> Any:
    if how in CRASHES:
        CRASHES[how]()
    if how in MISCOUNTS:
        return MISCOUNTS[how](list(answers))
    return [_bad(one, how) if bad else one for one, bad in zip(answers, poisonous, strict=True)]


def _bad(answer: Recognition, how: str) -> object:
    if how not in BAD_TIMES:
        return GARBAGE.get(how, answer)
    words = [BAD_TIMES[how](word) for word in answer.segments[0].words]
    return Recognition((Segment.of(words),))


def _poll(condition: Callable[[], bool]) -> None:
    while not condition():
        threading.Event().wait(0.01)


def model(name: str, pipe: str = "") -> RecogniserModel:
    """The engine ``name`` of this module under its own name, in lower case."""
    engine = f"{__name__}:{name}"
    return RecogniserModel(
        name.lower(), engine, scripted.SPEC, "For tests", "MIT", arguments={"pipe": pipe}
    )


@dataclass(frozen=True, kw_only=True)
class _Hasty(RecogniserSpec):
    """A batch may take `HASTE_SECONDS`."""

    @property
    def batching(self) -> Batching:
        return replace(super().batching, base_timeout=HASTE_SECONDS, timeout_per_cost=0.0)


def faulty(folder: Path, *, hasty: bool = False) -> RecogniserModel:
    kind = _Hasty if hasty else RecogniserSpec
    spec = kind(
        languages=scripted.LANGUAGES,
        max_chunk_seconds=10,
        max_gap_seconds=2,
        max_batch=3,
        translates=True,
        logprobs=True,
    )
    arguments = {"folder": str(folder)}
    return RecogniserModel(
        "faulty", f"{__name__}:Faulty", spec, "For tests", "MIT", arguments=arguments
    )


ABSENT = RecogniserModel(
    "absent", "nowhere:Engine", scripted.SPEC, "For tests", "MIT", packages=("no_such_package",)
)
"""Known, but not installed: a server with this default starts no worker at all."""
