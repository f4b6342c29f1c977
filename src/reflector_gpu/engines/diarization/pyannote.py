"""A diarizer of pyannote.audio 4's pipelines, on PyTorch: overlaps, any language.

The library takes the whole waveform, and compares every voice with every other. So, unlike with
other engines, memory grows with the recording: by four bytes for each sample, and by the square of
its voices. The weights are gated: those who have accepted their terms on the hub can pull them.
They are pickles, which run as code, so an operator must trust a folder of their own.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from reflector_gpu.engines.base import needs_extra
from reflector_gpu.engines.diarization.base import DiarizerModel, DiarizerSpec, Pcm, PcmRecording
from reflector_gpu.engines.outcomes import each
from reflector_gpu.engines.weights import Weights
from reflector_gpu.errors import EngineFailed, ModelNotInstalled, ReflectorError, TooLarge
from reflector_gpu.types import SAMPLE_RATE, DiarizeOptions, Samples, SpeakerTurn

SPEC = DiarizerSpec(devices=("cpu", "cuda"))

ENGINE = "reflector_gpu.engines.diarization.pyannote:PyannoteDiarizer"

LONGEST_SECONDS = 4 * 3600.0
"""With two speakers in a window each second, that is 29,000 voices and 3.3 GB of distances."""

COMMUNITY = "pyannote/speaker-diarization-community-1"
_CONFIG, _NETWORK = "config.yaml", "pytorch_model.bin"
_PARTS: Mapping[str, Sequence[str]] = {
    "segmentation": (_NETWORK,),
    "embedding": (_NETWORK,),
    "plda": ("plda.npz", "xvec_transform.npz"),
}
"""The parts of a pipeline, each with its files."""

_READ = 60 * SAMPLE_RATE  # samples that are converted at once


def _files(*parts: str) -> tuple[str, ...]:
    return tuple(f"{part}/{file}" for part in parts for file in _PARTS[part])


def _weights(repository: str, files: tuple[str, ...], beside: Weights | None = None) -> Weights:
    return Weights(repository, files, files, 33, beside)


def _model(name: str, summary: str, licence: str, weights: Weights) -> DiarizerModel:
    return DiarizerModel(
        name,
        ENGINE,
        SPEC,
        summary,
        licence,
        packages=("pyannote.audio",),
        extra="pyannote",
        weights=weights,
    )


MODELS = (
    _model(
        COMMUNITY,
        "pyannote.audio's best open pipeline: overlaps, any language; gated",
        "CC-BY-4.0",
        _weights(COMMUNITY, (_CONFIG, *_files(*_PARTS))),
    ),
    _model(
        "pyannote/speaker-diarization-3.1",
        "pyannote.audio's earlier pipeline; gated, and so are two that have parts of it",
        "MIT and CC-BY-4.0",
        _weights(
            "pyannote/speaker-diarization-3.1",
            (_CONFIG,),
            _weights(
                "pyannote/segmentation-3.0",
                (_NETWORK,),
                _weights(
                    "pyannote/wespeaker-voxceleb-resnet34-LM",
                    (_NETWORK,),
                    _weights(COMMUNITY, _files("plda")),
                ),
            ),
        ),
    ),
)

ALIASES: Mapping[str, str] = {"pyannote": COMMUNITY}


def local(name: str, folder: Path) -> DiarizerModel | None:
    """The pipeline in ``folder``, if there is one."""
    config = folder / _CONFIG
    if not config.is_file() or "pyannote.audio" not in config.read_text(encoding="utf-8"):
        return None
    return DiarizerModel(
        name,
        ENGINE,
        SPEC,
        "pyannote.audio pipeline from a local folder",
        "see the folder",
        packages=("pyannote.audio",),
        extra="pyannote",
        arguments={"weights": str(folder)},
    )


class _Segment(Protocol):
    @property
    def start(self) -> float: ...

    @property
    def end(self) -> float: ...


class Annotation(Protocol):
    """pyannote.core's annotation: labelled tracks."""

    def itertracks(self, *, yield_label: bool) -> Iterable[tuple[_Segment, object, str]]:
        """Each track as its segment, a name, and its speaker."""


class PipelineOutput(Protocol):
    """A pipeline's result: all turns, and turns of which no two overlap."""

    @property
    def speaker_diarization(self) -> Annotation: ...

    @property
    def exclusive_speaker_diarization(self) -> Annotation: ...


Pipeline: TypeAlias = Callable[[Samples, int, int | None], PipelineOutput]
"""Takes ``float32[1, n]``, and the fewest and the most speakers (None: any number)."""


class PyannoteDiarizer:
    """``weights`` is the folder with a pipeline's config.yaml, followed by those of its parts as in
    ``PATH``, if there are any. ``device`` is ``cpu`` or ``cuda``.
    """

    def __init__(self, weights: str, device: str = "cpu") -> None:
        self._folder = Path(weights.split(os.pathsep)[0])
        self._device = device
        self.pipeline: Pipeline | None = None

    def load(self) -> None:
        self.pipeline = _loaded(self._folder, self._device)

    def diarize(
        self, recordings: Sequence[PcmRecording], options: DiarizeOptions
    ) -> Sequence[Sequence[SpeakerTurn] | ReflectorError]:
        def diarized(recording: PcmRecording) -> list[SpeakerTurn]:
            try:
                return self._diarize(recording, options)
            except ReflectorError:  # some of them are ValueErrors, too
                raise
            except (RuntimeError, ValueError, MemoryError) as error:  # PyTorch's, SciPy's
                raise EngineFailed(f"pyannote failed on this recording: {error}") from error

        return each(diarized, recordings)

    def close(self) -> None:
        self.pipeline = None

    def _diarize(self, recording: PcmRecording, options: DiarizeOptions) -> list[SpeakerTurn]:
        assert self.pipeline is not None, "load() comes first"
        if recording.seconds > LONGEST_SECONDS:
            hours = LONGEST_SECONDS / 3600
            raise TooLarge(f"The speakers of more than {hours:g} hours cannot be told apart here.")
        if not recording.pcm.length:
            return []
        samples = waveform(recording.pcm)
        try:
            output = self.pipeline(samples, options.fewest, options.most)
        except ValueError:
            if options.fewest == 1:
                raise
            # Its k-means needs a window of each speaker: too little is said for so many.
            output = self.pipeline(samples, 1, options.most)
        found = output.speaker_diarization
        if options.exclusive:
            found = output.exclusive_speaker_diarization
        tracks = found.itertracks(yield_label=True)
        return turns(((when.start, when.end, who) for when, _, who in tracks), recording.seconds)


def waveform(pcm: Pcm) -> Samples:
    """The whole recording as ``float32[1, n]``."""
    samples = np.empty((1, pcm.length), np.float32)
    for first in range(0, pcm.length, _READ):
        last = min(first + _READ, pcm.length)
        samples[0, first:last] = pcm.read(first, last)
    return samples


def turns(tracks: Iterable[tuple[float, float, str]], seconds: float) -> list[SpeakerTurn]:
    """The turns of tracks (start, end, label) in a recording of ``seconds``.

    Windows are padded, so tracks may end after the recording. Tracks of one speaker that touch or
    overlap become one turn.
    """
    spans: dict[str, list[tuple[float, float]]] = {}
    for start, end, who in sorted(tracks):
        first, last = max(0.0, start), min(end, seconds)
        if first >= last:
            continue
        own = spans.setdefault(who, [])
        if own and first <= own[-1][1]:
            own[-1] = own[-1][0], max(own[-1][1], last)
        else:
            own.append((first, last))
    numbered = ([SpeakerTurn(*span, k) for span in own] for k, own in enumerate(spans.values()))
    return sorted(chain.from_iterable(numbered), key=lambda turn: (turn.start, turn.speaker))


def located(part: object, folder: Path, files: Sequence[str]) -> dict[str, str]:
    """Where ``part`` of a pipeline is on this machine: its ``checkpoint``, perhaps a ``subfolder``.

    In config.yaml, which is in ``folder``, ``part`` is ``$model/subfolder``, a path, a repository,
    or one of these as ``checkpoint``. It consists of ``files``.

    Raises:
        ModelNotInstalled: it is a repository that is not in the Hugging Face cache. The message
            says which page to open. The library itself would download it.
    """
    if isinstance(part, Mapping):
        name, inside = str(part["checkpoint"]), str(part.get("subfolder") or "")
    elif str(part).startswith("$model/"):
        name, inside = ".", str(part).removeprefix("$model/").split("@")[0]
    else:
        name, inside = str(part), ""
    below = {"subfolder": inside} if inside else {}
    if (folder / name).exists():
        return {"checkpoint": str(folder / name), **below}
    repository = name.split("@")[0]
    wanted = tuple(f"{inside}/{file}" if inside else file for file in files)
    snapshot = Weights(repository, wanted, wanted, 0).folder
    if snapshot is None:
        raise ModelNotInstalled(
            f"A part of this pyannote pipeline is not here: accept its terms at "
            f"https://huggingface.co/{repository}, set HF_TOKEN, and run: hf download {repository}",
            param="model",
        )
    return {"checkpoint": str(snapshot), **below}


def _loaded(folder: Path, device: str) -> Pipeline:
    try:
        with needs_extra("pyannote's pipelines", "pyannote"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about its own decoder, which is not used
            import torch
            import yaml
            from pyannote.audio import Pipeline as Pretrained
    except OSError as error:
        raise ModelNotInstalled(
            "The torchaudio that is installed does not fit torch: install both anew from one "
            "place, such as: pip install --force-reinstall torch torchaudio "
            "--index-url https://download.pytorch.org/whl/cpu"
        ) from error
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelNotInstalled(
            "pyannote cannot run on the device 'cuda' here: PyTorch finds no GPU."
        )
    try:
        config = yaml.safe_load((folder / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ModelNotInstalled(
            f"The folder of this pyannote pipeline has no readable {_CONFIG}."
        ) from error
    parts = config["pipeline"]["params"]
    for name, files in _PARTS.items():
        # As in the library, missing parts are those of the community's pipeline.
        part = parts.get(name, {"checkpoint": COMMUNITY, "subfolder": name})
        parts[name] = located(part, folder, files)
    pipeline = Pretrained.from_pretrained(config).to(torch.device(device))

    def run(samples: Samples, fewest: int, most: int | None) -> PipelineOutput:
        file = {"waveform": torch.from_numpy(samples), "sample_rate": SAMPLE_RATE}
        output: PipelineOutput = pipeline(file, min_speakers=fewest, max_speakers=most)
        return output

    return run
