"""The protocol of diarizers: recordings in, the turns of their speakers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from reflector_gpu.engines.base import EngineSpec, Model
from reflector_gpu.engines.capability import Capability
from reflector_gpu.errors import ReflectorError
from reflector_gpu.pcm import PcmFile
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, Samples, SpeakerTurn

DIARIZATION = Capability(
    kind="diarizer",
    purpose="tells speakers apart",
    method="diarize",
    stage="diarize",
    whole_recordings=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiarizerSpec(EngineSpec):
    """What else the service must know about a diarizer.

    ``needs_speech`` means that it has to know where anybody speaks.
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
class PcmRecording:
    """A recording as a diarizer reads it.

    ``speech`` has the (start, end) in seconds of where anybody speaks, in order and without
    overlaps. It is empty for an engine that does not need it.
    """

    pcm: Pcm
    speech: Sequence[tuple[float, float]] = ()

    @property
    def seconds(self) -> float:
        return self.pcm.length / SAMPLE_RATE


@dataclass(frozen=True, slots=True, eq=False)
class FileRecording(PcmRecording):
    """A `PcmRecording` in a file, which crosses to a worker process with it."""

    pcm: PcmFile

    def fileno(self) -> int:
        return self.pcm.descriptor

    def reopened(self, descriptor: int) -> FileRecording:
        """The same, read from ``descriptor``."""
        return FileRecording(PcmFile(descriptor), self.speech)


class Diarizer(Protocol):
    """Tells speakers apart. One instance lives in one process and is called by one thread."""

    def load(self) -> None:
        """As in `engines.recognition.base.Recogniser`."""

    def diarize(
        self, recordings: Sequence[PcmRecording], options: DiarizeOptions
    ) -> Sequence[Sequence[SpeakerTurn] | ReflectorError]:
        """Who speaks when: one result or one error for each recording, in order.

        Turns are sorted by their start and lie inside the recording; those of one speaker do not
        overlap. There are as many speakers as ``options`` allow, unless there is too little
        speech for so many; silence gives no turns.
        """

    def close(self) -> None:
        """Free what `load` took."""


@dataclass(frozen=True, slots=True)
class DiarizerModel(Model[PcmRecording, Sequence[SpeakerTurn]]):
    """A diarizer by name."""

    capability: ClassVar[Capability] = DIARIZATION
    spec: DiarizerSpec
