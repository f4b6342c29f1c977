"""What an engine is: the Protocols that every model family fulfils, and the words they share."""

from __future__ import annotations

import importlib.util
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from reflector_gpu.engines.weights import Weights
from reflector_gpu.errors import (
    InvalidRequest,
    ModelNotInstalled,
    ReflectorError,
    UnsupportedLanguage,
)
from reflector_gpu.languages import match_spoken, not_a_language, read
from reflector_gpu.types import (
    SAMPLE_RATE,
    Completion,
    DiarizeOptions,
    Prompt,
    Recognition,
    Samples,
    SamplingOptions,
    Schedule,
    SpeakerTurn,
    Task,
    TranscribeOptions,
)

FIRST_CHUNK_SECONDS = 3.0
"""The first chunk of a stream ends at the first pause behind so much speech."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """What the service must know about any engine before it is loaded.

    ``single_threaded``: a process for each core makes it faster. ``quick_restart``: loading takes
    about a second, so a batch that nobody waits for any more is ended by replacing its process.
    ``devices`` are those it runs on; where there is a choice, the engine takes it as its argument
    ``device``. ``compute_types``: takes the argument ``compute_type``.
    """

    single_threaded: bool = False
    quick_restart: bool = False
    devices: tuple[str, ...] = ("cpu",)
    compute_types: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecogniserSpec(EngineSpec):
    """What the service must know about a recogniser besides.

    ``languages`` are the model's own codes. ``max_chunk_seconds`` is the longest audio of one item,
    ``max_gap_seconds`` the longest silence worth decoding inside it, ``max_batch`` the items of
    one call, ``max_batch_seconds`` those of its audio once every item is padded to the longest.
    ``max_cpu_batch``: the items of one call on CPUs, no more than there are threads, for each item
    has one (None: as many as anywhere). ``window_seconds``: anything shorter costs as
    much. ``translates``: knows how to turn speech into English text. ``detects``: finds out which
    of its languages is spoken, and tells. ``logprobs``: words have their tokens.
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

    def on_cpu(self, threads: int) -> RecogniserSpec:
        """The same where all workers run on CPUs, with ``threads`` each."""
        most = self.max_cpu_batch
        return self if most is None else replace(self, max_batch=max(1, min(most, threads)))

    @property
    def streamed(self) -> Schedule:
        """The chunks of a recording whose words somebody reads while they come.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class DiarizerSpec(EngineSpec):
    """What the service must know about a diarizer besides.

    ``needs_speech``: it wants to be told where anybody speaks, and does not look for itself.
    """

    needs_speech: bool = False


class Pcm(Protocol):
    """The waveform of a whole recording, which lies on disk: hours are never held in memory."""

    @property
    def length(self) -> int:
        """How many samples there are."""

    def read(self, first: int, last: int) -> Samples:
        """``float32[last - first]``: the samples from ``first`` to before ``last``.

        What would lie outside the recording is silent.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """What a diarizer works on: ``speech`` are the (start, end) in seconds of where anybody
    speaks, in order and apart; empty too where the engine does not need it."""

    pcm: Pcm
    speech: Sequence[tuple[float, float]] = ()

    @property
    def seconds(self) -> float:
        return self.pcm.length / SAMPLE_RATE


class Diarizer(Protocol):
    """Tells speakers apart. One instance lives in one process and is called by one thread."""

    def load(self) -> None:
        """As in `Recogniser`."""

    def diarize(
        self, recordings: Sequence[Recording], options: DiarizeOptions
    ) -> Sequence[Sequence[SpeakerTurn] | ReflectorError]:
        """Who speaks when: one result or one error for each recording, in order.

        Turns are sorted by their start and lie inside the recording; those of one speaker do not
        overlap. There are as many speakers as ``options`` allow, unless there is too little
        speech for so many; silence gives no turns.
        """

    def close(self) -> None:
        """Free what `load` took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleterSpec(EngineSpec):
    """What the service must know about a language model besides.

    ``max_batch`` are the prompts of one call; ``context`` the tokens of a prompt and its answer.
    """

    max_batch: int
    context: int


class Progress(Protocol):
    """What hears of the answers while they are written."""

    def say(self, index: int, part: object) -> bool:
        """More text of the answer to the prompt ``index``; True: nobody wants any more of it."""


class Completer(Protocol):
    """A language model. One instance lives in one process and is called by one thread."""

    def load(self) -> None:
        """As in `Recogniser`."""

    def complete(
        self, prompts: Sequence[Prompt], options: SamplingOptions, progress: Progress
    ) -> Sequence[Completion | ReflectorError]:
        """Answer ``prompts``: one completion or one error for each, in order.

        What ``progress`` hears of an answer is its text, in pieces, from its beginning to its
        end.

        Raises:
            EngineFailed: as in `Recogniser`.
        """

    def close(self) -> None:
        """Free what `load` took."""


@dataclass(frozen=True, slots=True)
class Model:
    """An engine by name. ``engine`` is ``module:Class``, built with ``arguments``.

    ``extra`` is the package extra that brings ``packages``; ``programs`` are looked for on the
    PATH, each with the command that installs it. ``weights`` are on the hub; the folder that holds
    them becomes the engine's argument ``weights``, several as in ``PATH``.
    """

    name: str
    engine: str
    spec: EngineSpec
    summary: str
    licence: str
    packages: tuple[str, ...] = ()
    extra: str | None = None
    weights: Weights | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> tuple[str, ...]:
        """What this machine lacks: names of packages, of programs, then ``weights``."""
        packages = (name for name in self.packages if not _is_installed(name))
        programs = (name for name in self.programs if shutil.which(name) is None)
        return (*packages, *programs, *(("weights",) if self._lacks_weights else ()))

    @property
    def downloadable(self) -> bool:
        """Whether a download would make it complete."""
        return self.missing == ("weights",)

    @property
    def _lacks_weights(self) -> bool:
        return (
            self.weights is not None
            and "weights" not in self.arguments
            and self.weights.folder is None
        )

    @property
    def trained(self) -> bool:
        """Whether it has a model to load, from the hub or from a folder."""
        return self.weights is not None or "weights" in self.arguments

    @property
    def installation(self) -> str:
        """The shell command that brings what is missing; empty if nothing is."""
        missing = self.missing
        packages = [name for name in missing if name in self.packages]
        what = f"'reflector-gpu[{self.extra}]'" if self.extra else " ".join(packages)
        commands = [f"pip install {what}"] if packages else []
        commands += [self.programs[name] for name in missing if name in self.programs]
        if "weights" in missing:
            commands.append(f"reflector-gpu models pull {self.name}")
        return " && ".join(commands)

    def check_installed(self) -> None:
        """Raise `ModelNotInstalled`, with the command that mends it, if anything is missing."""
        if self.missing:
            raise ModelNotInstalled(
                f"Model '{self.name}' is known but not installed here: {self.installation}",
                param="model",
                retry_after=3600,
            )


@dataclass(frozen=True, slots=True)
class RecogniserModel(Model):
    """A recogniser by name."""

    spec: RecogniserSpec

    def own_language(self, language: str | None, param: str = "language") -> str | None:
        """This model's own code for ``language``, which is a code, a tag or a name.

        ``param`` is the field that a client told it in.

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
        """The language that is spoken, or those that may be if it is not certain; own codes.

        It is certain if it is told, or if this model knows no other, or no other of ``languages``.

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


@dataclass(frozen=True, slots=True)
class DiarizerModel(Model):
    """A diarizer by name."""

    spec: DiarizerSpec


@dataclass(frozen=True, slots=True)
class CompleterModel(Model):
    """A language model by name."""

    spec: CompleterSpec


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # nor is the one that it lies in
        return False


def check_samples(samples: Samples) -> None:
    """Refuse what no recogniser should see.

    Raises:
        InvalidRequest: not one dimension of finite ``float32``.
    """
    if samples.ndim != 1 or samples.dtype != np.float32:
        raise InvalidRequest("A chunk must be one dimension of float32 samples.")
    if not np.isfinite(samples).all():
        raise InvalidRequest("A chunk holds samples that are not numbers.")
