"""OpenAI Whisper on CTranslate2, with the chunks of different requests in one batch.

faster-whisper loads the model, computes the features and knows the tokenizer; its own pipelines
work on one recording at a time. Here a batch is one `encode`, one `generate` and one `align` a
language, whoever sent the chunks. Radford et al. 2022, https://arxiv.org/abs/2212.04356.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reflector_gpu.engines.base import Model, TranscriberSpec, check_samples
from reflector_gpu.engines.sound import fitted_to_sound
from reflector_gpu.engines.weights import Weights
from reflector_gpu.errors import EngineFailed, InvalidRequest, ModelNotInstalled, ReflectorError
from reflector_gpu.languages import WHISPER_CODES
from reflector_gpu.types import (
    SAMPLE_RATE,
    Recognition,
    Samples,
    Segment,
    SegmentScores,
    TranscribeOptions,
    Word,
)

if TYPE_CHECKING:
    import ctranslate2
    from faster_whisper import WhisperModel
    from faster_whisper.tokenizer import Tokenizer

WINDOW_SECONDS = 30.0
"""What the encoder sees at once; shorter audio costs as much."""

MULTILINGUAL_SPEC = TranscriberSpec(
    languages=WHISPER_CODES - {"yue"},
    max_chunk_seconds=WINDOW_SECONDS,
    max_gap_seconds=WINDOW_SECONDS,
    max_batch=16,
    devices=("cpu", "cuda"),
    translates=True,
)
V3_SPEC = replace(MULTILINGUAL_SPEC, languages=WHISPER_CODES)
"""large-v3 brought Cantonese."""

ENGLISH_SPEC = TranscriberSpec(
    languages=frozenset({"en"}),
    max_chunk_seconds=WINDOW_SECONDS,
    max_gap_seconds=WINDOW_SECONDS,
    max_batch=16,
    devices=("cpu", "cuda"),
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

ENGINE = "reflector_gpu.engines.whisper:WhisperTranscriber"


def _model(name: str, repository: str, megabytes: int) -> Model:
    # distil-whisper was distilled on English alone, whatever its tokenizer knows.
    english = name.endswith(".en") or name.startswith("distil-")
    multilingual = V3_SPEC if name.startswith("large-v3") else MULTILINGUAL_SPEC
    spec = ENGLISH_SPEC if english else multilingual
    count = len(spec.languages)
    return Model(
        name,
        ENGINE,
        spec,
        f"Whisper {name}, {'English' if english else f'{count} languages, each also to English'}",
        "MIT",
        packages=("faster_whisper",),
        extra="whisper",
        weights=Weights(repository, _FILES, _REQUIRED, megabytes),
    )


MODELS = tuple(_model(name, *where) for name, where in _SIZES.items())


def local(name: str, folder: Path) -> Model | None:
    """The Whisper in ``folder``, if there is one; its tokenizer tells what it speaks."""
    if not all((folder / file).is_file() for file in ("model.bin", "tokenizer.json")):
        return None
    tokenizer = (folder / "tokenizer.json").read_text(encoding="utf-8")
    multilingual = V3_SPEC if "<|yue|>" in tokenizer else MULTILINGUAL_SPEC
    return Model(
        name,
        ENGINE,
        multilingual if "<|es|>" in tokenizer else ENGLISH_SPEC,
        "Whisper from a local folder",
        "see the folder",
        packages=("faster_whisper",),
        extra="whisper",
        arguments={"weights": str(folder)},
    )


TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Tried in turn while a row looks wrong, as openai/whisper does."""

MAX_COMPRESSION_RATIO = 2.4  # above: the text repeats itself
MIN_AVG_LOGPROB = -1.0  # below: the model guesses
MAX_NO_SPEECH = 0.6  # above, and guessing: nobody spoke

_BEAM = 5
_BEST_OF = 5
_MAX_LENGTH = 448  # tokens of prompt and text, the decoder's context
_MAX_CONTEXT = _MAX_LENGTH // 2 - 1  # tokens of hotwords and prompt, as openai/whisper has it
_FRAMES_PER_SECOND = 100
_TOKENS_PER_SECOND = 15  # nobody speaks faster; a runaway row would hold up its whole batch
_PREPENDED = "\"'“¿([{-"
_APPENDED = "\"'.。,，!！?？:：”)]}、"


@dataclass(frozen=True, slots=True)
class _Hypothesis:
    tokens: tuple[int, ...]
    scores: SegmentScores

    @property
    def repetitive(self) -> bool:
        return self.scores.compression_ratio > MAX_COMPRESSION_RATIO

    @property
    def silent(self) -> bool:
        return self.scores.no_speech_prob > MAX_NO_SPEECH and self._guessed

    @property
    def good(self) -> bool:
        return self.silent or not (self.repetitive or self._guessed)

    @property
    def _guessed(self) -> bool:
        return self.scores.avg_logprob < MIN_AVG_LOGPROB


class WhisperTranscriber:
    """``weights`` is a folder in CTranslate2's form, with tokenizer.json.

    ``device`` is ``cpu`` or ``cuda``; ``compute_type`` is CTranslate2's, by default ``int8`` on
    CPU and ``float16`` on CUDA.
    """

    def __init__(self, weights: str, device: str = "cpu", compute_type: str = "") -> None:
        self._weights = Path(weights)
        self._device = device
        self._compute_type = compute_type or ("float16" if device == "cuda" else "int8")
        self._loaded: WhisperModel | None = None

    def load(self) -> None:
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise ModelNotInstalled(
                "Whisper models need the extra 'whisper': pip install 'reflector-gpu[whisper]'"
            ) from error
        # A folder that is missing would send faster-whisper to the hub.
        if not (self._weights / "model.bin").is_file():
            raise ModelNotInstalled("The folder of this Whisper model has no model.bin.")
        self._loaded = WhisperModel(
            str(self._weights),
            device=self._device,
            compute_type=self._compute_type,
            cpu_threads=int(os.environ.get("OMP_NUM_THREADS", "0")),
            local_files_only=True,
        )

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        results: list[Recognition | ReflectorError] = [Recognition()] * len(chunks)
        usable: list[int] = []
        for index, samples in enumerate(chunks):
            try:
                check_samples(samples)
                if len(samples) > WINDOW_SECONDS * SAMPLE_RATE:
                    raise InvalidRequest(f"A chunk is longer than {WINDOW_SECONDS:g} seconds.")
            except ReflectorError as error:
                results[index] = error
            else:
                if len(samples):
                    usable.append(index)
        if usable:
            found = self._recognise([chunks[index] for index in usable], options)
            for index, recognition in zip(usable, found, strict=True):
                results[index] = recognition
        return results

    def close(self) -> None:
        self._loaded = None

    @property
    def _model(self) -> WhisperModel:
        assert self._loaded is not None, "load() comes first"
        return self._loaded

    def _recognise(self, batch: Sequence[Samples], options: TranscribeOptions) -> list[Recognition]:
        encoded = self._encode(batch)
        languages = self._languages(encoded, len(batch), options.language)
        hypotheses = self._generate(encoded, batch, languages, options)
        spoken = [row for row, one in enumerate(hypotheses) if one.tokens and not one.silent]
        words: dict[int, list[Word]] = {}
        for language in {languages[row] for row in spoken}:
            rows = [row for row in spoken if languages[row] == language]
            tokenizer = self._tokenizer(language, options.task)
            tokens = [hypotheses[row].tokens for row in rows]
            samples = [batch[row] for row in rows]
            aligned = self._align(_rows(encoded, rows, len(batch)), tokenizer, tokens, samples)
            words.update(zip(rows, aligned, strict=True))
        found: list[Recognition] = []
        for row, one in enumerate(hypotheses):
            own = words.get(row)
            segments = (Segment.of(own, one.scores),) if own else ()
            found.append(Recognition(segments, languages[row]))
        return found

    def _encode(self, batch: Sequence[Samples]) -> ctranslate2.StorageView:
        from faster_whisper.audio import pad_or_trim

        extractor = self._model.feature_extractor
        features = np.stack([pad_or_trim(extractor(samples)[..., :-1]) for samples in batch])
        return self._model.encode(features)

    def _languages(
        self, encoded: ctranslate2.StorageView, count: int, asked: str | None
    ) -> list[str]:
        if not self._model.model.is_multilingual:
            return ["en"] * count
        if asked:
            return [asked] * count
        detected = self._model.model.detect_language(encoded)
        return [ranking[0][0].strip("<|>") for ranking in detected]

    def _tokenizer(self, language: str, task: str) -> Tokenizer:
        from faster_whisper.tokenizer import Tokenizer

        multilingual = self._model.model.is_multilingual
        return Tokenizer(self._model.hf_tokenizer, multilingual, task=task, language=language)

    def _generate(
        self,
        encoded: ctranslate2.StorageView,
        batch: Sequence[Samples],
        languages: Sequence[str],
        options: TranscribeOptions,
    ) -> list[_Hypothesis]:
        """The best text of each row; rows that look wrong are tried again at more temperature."""
        prompts = [self._prompt(language, options) for language in languages]
        best: list[_Hypothesis | None] = [None] * len(batch)
        open_rows = list(range(len(batch)))
        for temperature in (options.temperature,) if options.temperature else TEMPERATURES:
            longest = max(len(batch[row]) for row in open_rows) / SAMPLE_RATE
            tried = self._try(
                _rows(encoded, open_rows, len(batch)),
                [prompts[row] for row in open_rows],
                longest,
                temperature,
            )
            for row, hypothesis in zip(open_rows, tried, strict=True):
                best[row] = _better(best[row], hypothesis)
            open_rows = [r for r, one in zip(open_rows, tried, strict=True) if not one.good]
            if not open_rows:
                break
        return [one for one in best if one is not None]

    def _try(
        self,
        encoded: ctranslate2.StorageView,
        prompts: list[list[int]],
        seconds: float,
        temperature: float,
    ) -> list[_Hypothesis]:
        from faster_whisper.transcribe import get_suppressed_tokens

        tokenizer = self._tokenizer("en", "transcribe")
        new_tokens = 16 + int(seconds * _TOKENS_PER_SECOND)
        sampling = {"beam_size": 1, "num_hypotheses": _BEST_OF, "sampling_topk": 0}
        try:
            results = self._model.model.generate(
                encoded,
                prompts,
                max_length=min(_MAX_LENGTH, len(prompts[0]) + new_tokens),
                return_scores=True,
                return_no_speech_prob=True,
                suppress_tokens=list(get_suppressed_tokens(tokenizer, [-1])),
                sampling_temperature=temperature,
                **(sampling if temperature else {"beam_size": _BEAM}),
            )
        except RuntimeError as error:  # out of memory on the device: half the batch may fit
            raise EngineFailed(f"Whisper failed on a batch of {len(prompts)}: {error}") from error
        return [
            self._hypothesis(tokenizer, result, temperature, result.sequences_ids[0])
            for result in results
        ]

    def _hypothesis(
        self,
        tokenizer: Tokenizer,
        result: ctranslate2.models.WhisperGenerationResult,
        temperature: float,
        sequence: Sequence[int],
    ) -> _Hypothesis:
        tokens = tuple(token for token in sequence if token < tokenizer.eot)
        text = tokenizer.decode(list(tokens)).strip().encode()
        scores = SegmentScores(
            # The score is the mean over the tokens; whisper's own mean counts the end as well.
            avg_logprob=float(result.scores[0]) * len(sequence) / (len(sequence) + 1),
            compression_ratio=len(text) / len(zlib.compress(text)),
            no_speech_prob=float(result.no_speech_prob),
            temperature=temperature,
            tokens=tokens,
        )
        return _Hypothesis(tokens if text else (), scores)

    def _prompt(self, language: str, options: TranscribeOptions) -> list[int]:
        """Hotwords and the end of the client's prompt in one budget, then the task."""
        tokenizer = self._tokenizer(language, options.task)
        hotwords = tokenizer.encode(f" {', '.join(options.hotwords)}") if options.hotwords else []
        hotwords = hotwords[: _MAX_CONTEXT // 2]
        previous = tokenizer.encode(f" {options.prompt.strip()}") if options.prompt else []
        context = [*hotwords, *previous[len(previous) + len(hotwords) - _MAX_CONTEXT :]]
        start = [tokenizer.sot_prev, *context] if context else []
        return [*start, *tokenizer.sot_sequence, tokenizer.no_timestamps]

    def _align(
        self,
        encoded: ctranslate2.StorageView,
        tokenizer: Tokenizer,
        tokens: Sequence[Sequence[int]],
        batch: Sequence[Samples],
    ) -> list[list[Word]]:
        from faster_whisper.transcribe import merge_punctuations

        frames = [len(samples) * _FRAMES_PER_SECOND // SAMPLE_RATE for samples in batch]
        rows = self._model.find_alignment(tokenizer, [list(row) for row in tokens], encoded, frames)
        found: list[list[Word]] = []
        for row, samples in zip(rows, batch, strict=True):
            merge_punctuations(row, _PREPENDED, _APPENDED)
            words = [
                Word(
                    part["word"].strip(),
                    float(part["start"]),
                    float(part["end"]),
                    probability=min(1.0, float(part["probability"])),
                    glued=not part["word"].startswith(" "),
                )
                for part in row
                if part["word"].strip()
            ]
            found.append(fitted_to_sound(words, samples))
        return found


def _better(known: _Hypothesis | None, new: _Hypothesis) -> _Hypothesis:
    """A good one wins; of bad ones, what does not repeat itself, then what is likelier."""
    if known is None or new.good:
        return new
    return max(known, new, key=lambda one: (not one.repetitive, one.scores.avg_logprob))


def _rows(
    encoded: ctranslate2.StorageView, rows: Sequence[int], count: int
) -> ctranslate2.StorageView:
    """Some rows of an encoder output, ``[count, frames, d]``."""
    if len(rows) == count:
        return encoded
    import ctranslate2

    array = np.asarray(encoded.to_device(ctranslate2.Device.cpu))
    return ctranslate2.StorageView.from_array(np.ascontiguousarray(array[list(rows)]))
