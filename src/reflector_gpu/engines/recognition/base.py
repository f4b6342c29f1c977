"""The protocol of recognisers: speech in, words with times out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, Self

import numpy as np

from reflector_gpu.engines.base import EngineSpec, Model
from reflector_gpu.engines.capability import Batching, Capability
from reflector_gpu.errors import InvalidRequest, ReflectorError, UnsupportedLanguage
from reflector_gpu.languages import match_spoken, not_a_language, read
from reflector_gpu.types import (
    PLAIN,
    SAMPLE_RATE,
    Recognition,
    Samples,
    Schedule,
    Task,
    TranscribeOptions,
)

RECOGNITION = Capability(
    kind="recogniser", purpose="may be named in requests", method="transcribe", stage="recognise"
)

FIRST_CHUNK_SECONDS = 3.0
"""The first chunk of a stream ends at the first pause after so much speech."""

PATIENCE_SECONDS = 5.0
"""A chunk of a stream that takes so long to arrive ends at the first pause after as much audio."""

_FULL = 0.75
"""The share of a window that a chunk fills at least before it is cut."""

_MOST_LISTED = 30
"""Languages that an error lists; those of a model that knows more would be all that one reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecogniserSpec(EngineSpec):
    """What else the service must know about a recogniser.

    One item has ``max_chunk_seconds`` of audio at most, and a silence of more than
    ``max_gap_seconds`` in it is not worth decoding. One call takes ``max_batch`` items, which have
    ``max_batch_seconds`` in all once each is padded to the longest, or ``max_live_seconds`` if they
    are of live requests. On CPUs, which work on items
    side by side, it takes ``max_cpu_batch`` (None: as many as elsewhere), and no more than there
    are threads. With ``cpu_lanes`` so many threads may also call it at once there, its ``lanes``,
    and no item waits for the others of a batch. Audio shorter than ``window_seconds`` costs as much
    as a whole window.

    ``translates`` means that it can turn speech into English text, ``detects`` that it finds out
    which of its languages is spoken, and ``logprobs`` that its words have tokens. A word that is at
    least as probable as ``sure`` stays the same when more audio follows, as measurements show.
    """

    languages: frozenset[str]
    max_chunk_seconds: float
    max_gap_seconds: float
    max_batch: int
    max_batch_seconds: float = float("inf")
    max_live_seconds: float = float("inf")
    max_cpu_batch: int | None = None
    cpu_lanes: bool = False
    lanes: int = 1
    window_seconds: float = 0.0
    translates: bool = False
    detects: bool = False
    logprobs: bool = False
    sure: float | None = None

    @property
    def batching(self) -> Batching:
        longest = self.max_chunk_seconds + 1
        most = max(longest, min(longest * self.max_batch, self.max_batch_seconds))
        return Batching(
            max_items=self.max_batch,
            max_cost=self.max_batch_seconds,
            max_live_cost=self.max_live_seconds,
            samples=int(most * SAMPLE_RATE),
            lanes=self.lanes,
        )

    def on_cpu(self, threads: int) -> Self:
        if self.max_cpu_batch is None:
            return self
        most = max(1, min(self.max_cpu_batch, threads))
        return replace(self, max_batch=most, lanes=most if self.cpu_lanes else 1)

    @property
    def whole(self) -> Schedule:
        """How to cut a recording whose words are told all at once.

        If every chunk costs a whole window, chunks fill their windows.
        """
        return Schedule(earliest_cut=_FULL) if self.window_seconds else PLAIN

    @property
    def streamed(self) -> Schedule:
        """How to cut a recording whose words are streamed.

        The length of chunks doubles, so that words appear early, and chunks are soon so long that
        recognition is accurate. If every chunk costs a whole window, only the first is shorter, and
        a recording of up to one and a half windows has no short chunk. A recording that
        arrives at the pace of speech has short ones only, so that its words come soon.
        """
        if self.window_seconds:
            unhurried = 1.5 * self.window_seconds
            return replace(
                self.whole,
                early_seconds=(FIRST_CHUNK_SECONDS,),
                whole_seconds=unhurried,
                patience=PATIENCE_SECONDS,
            )
        doublings = max(0, math.ceil(math.log2(self.max_chunk_seconds / FIRST_CHUNK_SECONDS)))
        early = (math.ldexp(FIRST_CHUNK_SECONDS, power) for power in range(doublings))
        return Schedule(tuple(early), patience=PATIENCE_SECONDS)

    def ahead(self, workers: int) -> int:
        """How many chunks of one recording may be in flight: a batch for each worker, and another.

        They are at least 8, because finished ones wait for those before them, and at most half an
        hour of audio, which is 115 MB.
        """
        wanted = self.max_batch * (workers + 1)
        return max(8, min(wanted, int(1800 / self.max_chunk_seconds)), 2 * workers)


class Recogniser(Protocol):
    """A speech recogniser. One instance lives in one process and is called by one thread."""

    def load(self) -> None:
        """Bring the model into memory.

        Raises:
            ModelNotInstalled: a package or the weights are missing. The message says how to get
                them.
        """

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        """Recognise ``chunks``, each ``float32[n]``: one result or one error for each, in order.

        Times are relative to the chunk, never decrease, and lie inside it. A chunk gives the same
        result whatever else is in the batch.

        Raises:
            EngineFailed: the whole batch failed, perhaps for lack of memory. Half of it may work.
        """

    def close(self) -> None:
        """Free what `load` took."""


@dataclass(frozen=True, slots=True)
class RecogniserModel(Model[Samples, Recognition]):
    """A recogniser by name."""

    capability: ClassVar[Capability] = RECOGNITION
    spec: RecogniserSpec

    def own_language(self, language: str | None, param: str = "language") -> str | None:
        """This model's own code for ``language``, which is a code, a tag or a name.

        ``param`` is the field of the request that holds it, for errors.

        Raises:
            UnsupportedLanguage: it does not know the language. The message says which it knows.
        """
        known = self.spec.languages
        if language is None or (found := match_spoken(language, known)) is not None:
            return language and found
        problem = "" if read(language) else f"{not_a_language(language)} "
        if known == {"en"}:
            raise UnsupportedLanguage(
                f"{problem}Model '{self.name}' only supports English; "
                f"leave out '{param}' or send 'en'.",
                param=param,
            )
        problem = problem or f"Model '{self.name}' does not know the language '{language}'. "
        supported = f"{len(known)} languages; GET /v1/models lists them"
        if len(known) <= _MOST_LISTED:
            supported = ", ".join(sorted(known))
        raise UnsupportedLanguage(
            f"{problem}Model '{self.name}' supports: {supported}.", param=param
        )

    def expected(
        self, language: str | None, languages: Sequence[str]
    ) -> tuple[str | None, tuple[str, ...]]:
        """The spoken language if it is certain, and otherwise those that may be spoken.

        It is certain if the client names it, if the model knows one of ``languages`` alone, or if
        it knows only one at all. Languages are the model's own codes.

        Raises:
            UnsupportedLanguage: the model does not know ``language``, or none of ``languages``, or
                one of these is no language.
        """
        if own := self.own_language(language):
            return own, ()
        for one in languages:
            if read(one) is None:
                raise UnsupportedLanguage(not_a_language(one), param="languages")
        known = self.spec.languages
        among = {code for one in languages if (code := match_spoken(one, known))}
        if languages and not among:
            self.own_language(languages[0], "languages")
        only = sorted(among or known)
        return (only[0], ()) if len(only) == 1 else (None, tuple(sorted(among)))

    def can(self, task: Task) -> bool:
        """Whether this model can do ``task`` itself. What it hears may be English already."""
        return task == "transcribe" or self.spec.translates or self.spec.languages == {"en"}

    def check_logprobs(self) -> None:
        """Raise `InvalidRequest` unless this model says how likely its tokens are."""
        if not self.spec.logprobs:
            raise InvalidRequest(
                f"Model '{self.name}' has no logprobs; use a Parakeet or a Whisper, or leave out "
                "'include'.",
                param="include",
            )


def checked(samples: Samples) -> Samples:
    """``samples``, if a recogniser can take them.

    Raises:
        InvalidRequest: not one dimension of finite ``float32``.
    """
    if samples.ndim != 1 or samples.dtype != np.float32:
        raise InvalidRequest("A chunk must be one dimension of float32 samples.")
    if not np.isfinite(samples).all():
        raise InvalidRequest("A chunk holds samples that are not numbers.")
    return samples
