"""What is compared on real recordings: the service, and faster-whisper called directly."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import httpx
from faster_whisper import BatchedInferencePipeline, WhisperModel

import reflector_gpu
from benchmarks.recordings import Clip

CACHE = Path(os.environ.get("REFLECTOR_BENCH_CACHE") or Path(__file__).parent / "heard")
"""What was heard before, named by everything that it depends on."""

_LIBRARIES = ("faster-whisper", "ctranslate2", "av")

_ROOMS = ("audio", "decoding", "engines/recognition", "pipeline")
"""The rooms of the service on which its words depend."""


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Transcript:
    text: str
    words: tuple[Word, ...] = ()


class System(Protocol):
    """Something that hears what is said, and is told in what language."""

    def text(self, clip: Clip) -> str: ...

    def words(self, clip: Clip) -> tuple[Word, ...]: ...


class Service:
    """A server with one model, over HTTP.

    What it heard is remembered as long as neither its code nor its settings change.
    """

    def __init__(self, client: httpx.Client, model: str) -> None:
        self._client = client
        self._version = ["service", model, _code(), *_settings(), *map(version, _LIBRARIES)]

    def text(self, clip: Clip) -> str:
        def ask() -> Transcript:
            return Transcript(self._ask(clip, {})["text"])

        return _remembered([*self._version, False], clip, ask).text

    def words(self, clip: Clip) -> tuple[Word, ...]:
        form = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}

        def ask() -> Transcript:
            found = self._ask(clip, form)
            words = (Word(one["word"], one["start"], one["end"]) for one in found["words"])
            return Transcript(found["text"], tuple(words))

        return _remembered([*self._version, True], clip, ask).words

    def _ask(self, clip: Clip, form: dict[str, str]) -> dict[str, Any]:
        answer = self._client.post(
            "/v1/audio/transcriptions",
            files={"file": (clip.name, clip.audio)},
            data={"language": clip.language, **form},
        )
        found: dict[str, Any] = answer.raise_for_status().json()
        return found


class Direct:
    """``WhisperModel.transcribe`` with its defaults.

    The weights are int8, as the service has them on a CPU. Loads them when it first needs them,
    which may be never: what it heard before is remembered.
    """

    name = "direct"

    def __init__(self, weights: Path) -> None:
        self._weights = weights
        self._loaded: WhisperModel | BatchedInferencePipeline | None = None

    def text(self, clip: Clip) -> str:
        return self._hear(clip, words=False).text

    def words(self, clip: Clip) -> tuple[Word, ...]:
        return self._hear(clip, words=True).words

    def _load(self) -> WhisperModel | BatchedInferencePipeline:
        return _model(self._weights)

    def _hear(self, clip: Clip, *, words: bool) -> Transcript:
        libraries = map(version, _LIBRARIES)
        inputs = [self.name, self._weights.name, words, clip.language, *libraries]
        return _remembered(inputs, clip, lambda: self._transcribe(clip, words=words))

    def _transcribe(self, clip: Clip, *, words: bool) -> Transcript:
        self._loaded = self._loaded or self._load()
        segments, _ = self._loaded.transcribe(
            io.BytesIO(clip.audio), language=clip.language, word_timestamps=words
        )
        found = list(segments)
        return Transcript(
            "".join(segment.text for segment in found).strip(),
            tuple(
                Word(word.word.strip(), float(word.start), float(word.end))
                for segment in found
                for word in segment.words or ()
            ),
        )


class Batched(Direct):
    """``BatchedInferencePipeline.transcribe`` with its defaults."""

    name = "batched"

    def _load(self) -> WhisperModel | BatchedInferencePipeline:
        return BatchedInferencePipeline(_model(self._weights))


def _model(weights: Path) -> WhisperModel:
    return WhisperModel(str(weights), device="cpu", compute_type="int8", local_files_only=True)


def _remembered(inputs: Sequence[object], clip: Clip, hear: Callable[[], Transcript]) -> Transcript:
    """What is heard in ``clip``, or was before with the same ``inputs``.

    So a run that was interrupted goes on where it was.
    """
    key = hashlib.sha256(json.dumps(inputs).encode() + clip.audio).hexdigest()
    path = CACHE / f"{key}.json"
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        return Transcript(known["text"], tuple(Word(**word) for word in known["words"]))
    found = hear()
    CACHE.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(found), ensure_ascii=False), encoding="utf-8")
    return found


def _settings() -> list[str]:
    """The settings of a server that this process starts, but for those of benchmarks."""
    names = (name for name in sorted(os.environ) if name.startswith("REFLECTOR_"))
    return [f"{name}={os.environ[name]}" for name in names if "_BENCH_" not in name]


def _code() -> str:
    """A digest of the service's code that words depend on."""
    package = Path(reflector_gpu.__file__).parent
    files = sorted(file for room in _ROOMS for file in (package / room).rglob("*.py"))
    found = hashlib.sha256()
    for file in files:
        found.update(file.read_bytes())
    return found.hexdigest()
