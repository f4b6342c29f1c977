"""What a recogniser is: speech in, words with times out."""

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
    SAMPLE_RATE,
    Recognition,
    Samples,
    Schedule,
    Task,
    TranscribeOptions,
)

RECOGNITION = Capability(kind="recogniser", purpose="may be named in requests", method="transcribe")

FIRST_CHUNK_SECONDS = 3.0
"""The first chunk of a stream ends at the first pause behind so much speech."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecogniserSpec(EngineSpec):
    """What the service must know about a recogniser besides.

    ``max_chunk_seconds`` is the longest audio of one item,
    ``max_gap_seconds`` the longest silence worth decoding inside it, ``max_batch`` the items of
    one call, ``max_batch_seconds`` those of its audio once every item is padded to the longest.
    ``max_cpu_batch``: the items of one call on CPUs, which are worked on side by side, and no more
    than there are threads (None: as many as anywhere). ``window_seconds``: shorter audio costs as
    much.
    ``translates``: it can turn speech into English text. ``detects``: it finds out which of its
    languages is spoken, and returns it. ``logprobs``: words have their tokens.
    """

    languages: frozenset[str]
    max_chunk_seconds: float
    max_gap_seconds: float
    max_batch: int
    max_batch_seconds: float = float("inf")
    max_cpu_batch: int | None = None
    window_seconds: float = 0.0
    translates: bool = False
    detects: bool = False
    logprobs: bool = False

    @property
    def batching(self) -> Batching:
        longest = self.max_chunk_seconds + 1
        most = max(longest, min(longest * self.max_batch, self.max_batch_seconds))
        return Batching(
            max_items=self.max_batch,
            max_cost=self.max_batch_seconds,
            samples=int(most * SAMPLE_RATE),
        )

    def on_cpu(self, threads: int) -> Self:
        most = self.max_cpu_batch
        return self if most is None else replace(self, max_batch=max(1, min(most, threads)))

    @property
    def streamed(self) -> Schedule:
        """How to cut a recording whose words are streamed to a reader.

        They double, so that words appear early and chunks soon are as long as they are accurate.
        Where a chunk costs a whole window whatever is in it, only the first one is shorter, the
        others fill their windows better to make up for it, and what fits one and a half windows
        is not cut for it.
        """
        if self.window_seconds:
            whole = 1.5 * self.window_seconds
            return Schedule((FIRST_CHUNK_SECONDS,), whole_seconds=whole, earliest_cut=0.75)
        doublings = max(0, math.ceil(math.log2(self.max_chunk_seconds / FIRST_CHUNK_SECONDS)))
        early = (math.ldexp(FIRST_CHUNK_SECONDS, power) for power in range(doublings))
        return Schedule(tuple(early))

    def ahead(self, workers: int) -> int:
        """Chunks of one recording in flight: a batch for each worker, and one that gathers.

        At least 8, as some wait for one before them; at most half an hour of audio, 115 MB.
        """
        wanted = self.max_batch * (workers + 1)
        return max(8, min(wanted, int(1800 / self.max_chunk_seconds)), 2 * workers)


class Recogniser(Protocol):
    """A speech recogniser. One instance lives in one process and is called by one thread."""

    def load(self) -> None:
        """Bring the model into memory.

        Raises:
            ModelNotInstalled: a package or the weights are missing; the message says how to
                get them.
        """

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        """Recognise ``chunks``, each ``float32[n]``; one result or one error for each, in order.

        Times are relative to the chunk, never decrease, and lie inside it. The same chunk gives
        the same result, whatever is beside it in the batch.

        Raises:
            EngineFailed: the batch as a whole failed, for want of memory perhaps; half of it
                may not.
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
            UnsupportedLanguage: it does not know that; the message lists what it knows.
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
        raise UnsupportedLanguage(
            f"{problem}Model '{self.name}' supports: {', '.join(sorted(known))}.",
            param=param,
        )

    def expected(
        self, language: str | None, languages: Sequence[str]
    ) -> tuple[str | None, tuple[str, ...]]:
        """The language that is spoken if it is certain, else those that may be; own codes.

        It is certain if the client told it, or if the model knows only one of ``languages``, or
        only one at all.

        Raises:
            UnsupportedLanguage: it does not know the language, or knows none of ``languages``, or
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
        """Whether this model can do ``task`` itself; English stays as it is."""
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
