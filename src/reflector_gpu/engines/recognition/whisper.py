"""OpenAI Whisper on CTranslate2, with the chunks of different requests in one batch.

faster-whisper loads the model, computes the features and knows the tokenizer; its own pipelines
work on one recording at a time, so the decoding is in `whisper_decoding`.
Radford et al. 2022, https://arxiv.org/abs/2212.04356.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from reflector_gpu.engines.accelerators import check_ctranslate2, ctranslate2_batch
from reflector_gpu.engines.base import needs_extra
from reflector_gpu.engines.outcomes import each, together
from reflector_gpu.engines.recognition.base import RecogniserModel, RecogniserSpec, checked
from reflector_gpu.engines.recognition.whisper_decoding import Decoder
from reflector_gpu.engines.weights import Weights
from reflector_gpu.engines.weights.pins import PINS
from reflector_gpu.errors import InvalidRequest, ModelNotInstalled, ReflectorError
from reflector_gpu.languages import WHISPER_CODES
from reflector_gpu.types import SAMPLE_RATE, Recognition, Samples, TranscribeOptions

WINDOW_SECONDS = 30.0
"""The seconds that the encoder reads at once. Shorter audio costs as much."""

MULTILINGUAL_SPEC = RecogniserSpec(
    languages=WHISPER_CODES - {"yue"},
    max_chunk_seconds=WINDOW_SECONDS,
    max_gap_seconds=WINDOW_SECONDS,
    max_batch=16,  # large-v2 in float16 takes 4.5 GB, and 0.2 for each further row (its README)
    max_cpu_batch=4,  # with base, each takes 0.2 GB while it is decoded
    cpu_lanes=True,
    window_seconds=WINDOW_SECONDS,
    devices=("cpu", "cuda"),
    compute_types=True,
    translates=True,
    detects=True,
    logprobs=True,
    sure=0.7,
)
V3_SPEC = replace(MULTILINGUAL_SPEC, languages=WHISPER_CODES)
"""large-v3 brought Cantonese."""

FAST_V3_SPEC = replace(V3_SPEC, translates=False)
"""large-v3-turbo was not trained to translate: it writes the spoken language."""

ENGLISH_SPEC = replace(
    MULTILINGUAL_SPEC, languages=frozenset({"en"}), translates=False, detects=False
)

_FILES = ("config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*")
_REQUIRED = ("config.json", "model.bin", "tokenizer.json")

_SIZES: dict[str, tuple[str, int]] = {
    "tiny": ("Systran/faster-whisper-tiny", 78),
    "tiny.en": ("Systran/faster-whisper-tiny.en", 78),
    "base": ("Systran/faster-whisper-base", 148),
    "base.en": ("Systran/faster-whisper-base.en", 148),
    "small": ("Systran/faster-whisper-small", 486),
    "small.en": ("Systran/faster-whisper-small.en", 486),
    "medium": ("Systran/faster-whisper-medium", 1530),
    "medium.en": ("Systran/faster-whisper-medium.en", 1530),
    "large-v1": ("Systran/faster-whisper-large-v1", 3090),
    "large-v2": ("Systran/faster-whisper-large-v2", 3090),
    "large-v3": ("Systran/faster-whisper-large-v3", 3090),
    "large-v3-turbo": ("mobiuslabsgmbh/faster-whisper-large-v3-turbo", 1620),
    "distil-small.en": ("Systran/faster-distil-whisper-small.en", 335),
    "distil-medium.en": ("Systran/faster-distil-whisper-medium.en", 790),
    "distil-large-v2": ("Systran/faster-distil-whisper-large-v2", 1510),
    "distil-large-v3": ("Systran/faster-distil-whisper-large-v3", 1510),
    "distil-large-v3.5": ("distil-whisper/distil-large-v3.5-ct2", 1510),
}
"""faster-whisper's own names: repository and megabytes (float16)."""

_MULTILINGUAL = {"large-v3": V3_SPEC, "large-v3-turbo": FAST_V3_SPEC}

_ENGLISH_ENTRIES = 51_864
"""Tokens of the vocabulary that English-only models have; it lacks one that all others have."""

_FEW_LAYERS = 8
"""The decoder of large-v3 has 32. Those cut down from it have up to 4, and do not translate."""

ENGINE = "reflector_gpu.engines.recognition.whisper:WhisperRecogniser"


def _model(name: str, repository: str, megabytes: int) -> RecogniserModel:
    # distil-whisper was distilled on English alone, whatever its tokenizer knows.
    english = name.endswith(".en") or name.startswith("distil-")
    spec = ENGLISH_SPEC if english else _MULTILINGUAL.get(name, MULTILINGUAL_SPEC)
    languages = "English" if english else f"{len(spec.languages)} languages"
    return RecogniserModel(
        name,
        ENGINE,
        spec,
        f"Whisper {name}, {languages}{', each also to English' if spec.translates else ''}",
        "MIT",
        packages=("faster_whisper",),
        extra="whisper",
        weights=Weights(repository, _FILES, _REQUIRED, megabytes, pins=PINS.get(repository)),
    )


MODELS = tuple(_model(name, *where) for name, where in _SIZES.items())


def local(name: str, folder: Path) -> RecogniserModel | None:
    """The Whisper in ``folder``, if there is one. Its files show its languages."""
    if not all((folder / file).is_file() for file in ("model.bin", "tokenizer.json")):
        return None
    return RecogniserModel(
        name,
        ENGINE,
        _spec_of(folder),
        "Whisper from a local folder",
        "see the folder",
        packages=("faster_whisper",),
        extra="whisper",
        arguments={"weights": str(folder)},
    )


def _spec_of(folder: Path) -> RecogniserSpec:
    if _entries(folder) == _ENGLISH_ENTRIES:
        return ENGLISH_SPEC
    if "<|yue|>" not in (folder / "tokenizer.json").read_text(encoding="utf-8"):
        return MULTILINGUAL_SPEC
    return V3_SPEC if _last_aligned_layer(folder) >= _FEW_LAYERS else FAST_V3_SPEC


def _entries(folder: Path) -> int:
    """How many tokens the model in ``folder`` knows; 0 if its files do not say.

    The tokenizer does not say it: that of an English-only model has all languages.
    """
    for name, count in (("vocabulary.json", _json_length), ("vocabulary.txt", _line_count)):
        if (folder / name).is_file():
            return count((folder / name).read_text(encoding="utf-8"))
    return 0


def _json_length(text: str) -> int:
    try:
        found = json.loads(text)
    except ValueError:
        return 0
    return len(found) if isinstance(found, list) else 0


def _line_count(text: str) -> int:
    return text.rstrip("\n").count("\n") + 1


def _last_aligned_layer(folder: Path) -> int:
    """The last layer of the decoder whose attention shows where words are."""
    try:
        heads = json.loads((folder / "config.json").read_text(encoding="utf-8"))["alignment_heads"]
        return max(int(layer) for layer, _ in heads)
    except (OSError, ValueError, KeyError, TypeError):
        return _FEW_LAYERS  # taken not to be cut down


def _readable(samples: Samples) -> Samples | Recognition:
    """``samples`` if they fit the encoder. Without any, an empty recognition."""
    if len(checked(samples)) > WINDOW_SECONDS * SAMPLE_RATE:
        raise InvalidRequest(f"A chunk is longer than {WINDOW_SECONDS:g} seconds.")
    return samples if len(samples) else Recognition()


class WhisperRecogniser:
    """``weights`` is a folder in CTranslate2's form, with tokenizer.json.

    ``device`` is ``cpu`` or ``cuda``; ``compute_type`` is CTranslate2's, by default ``int8`` on
    CPU and ``float16`` on CUDA.

    A GPU decodes the chunks of a batch together. A CPU decodes them in parallel, because the
    decoder's matrices are too small to keep several threads busy. Each chunk may use all threads,
    so that a single one does.
    """

    def __init__(self, weights: str, device: str = "cpu", compute_type: str = "") -> None:
        self._weights = Path(weights)
        self._device = device
        self._compute_type = compute_type or ("float16" if device == "cuda" else "int8")
        self._decoder: Decoder | None = None
        self._lanes: ThreadPoolExecutor | None = None

    def load(self) -> None:
        with needs_extra("Whisper models", "whisper"):
            from faster_whisper import WhisperModel
        # faster-whisper would ask the hub for a missing folder.
        if not (self._weights / "model.bin").is_file():
            raise ModelNotInstalled("The folder of this Whisper model has no model.bin.")
        check_ctranslate2("Whisper", self._device, self._compute_type)
        threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
        lanes = 1
        if self._device == "cpu":
            lanes = MULTILINGUAL_SPEC.on_cpu(threads).max_batch
            self._lanes = ThreadPoolExecutor(lanes, thread_name_prefix="whisper")
        self._decoder = Decoder(
            WhisperModel(
                str(self._weights),
                device=self._device,
                compute_type=self._compute_type,
                cpu_threads=threads,  # of each parallel chunk, so that a single one can use all
                num_workers=lanes,
                local_files_only=True,
            )
        )

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        """Recognise ``chunks``, as `Recogniser` says.

        Raises:
            EngineFailed: the device has no memory for so many chunks at once.
        """
        assert self._decoder is not None, "load() comes first"
        decode, lanes = self._decoder.recognise, self._lanes

        def recognise(batch: Sequence[Samples]) -> Sequence[Recognition]:
            with ctranslate2_batch("Whisper", len(batch)):
                if lanes is None:
                    # A GPU is as fast with whole windows, and its rows have to be equally long.
                    return decode(batch, replace(options, live=False))
                return [*lanes.map(lambda samples: decode([samples], options)[0], batch)]

        return together(recognise, np.ndarray, each(_readable, chunks))

    def close(self) -> None:
        if self._lanes is not None:
            self._lanes.shutdown()
        self._decoder = self._lanes = None
