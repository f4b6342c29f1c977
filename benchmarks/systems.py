"""What is compared on real recordings: the service, and faster-whisper called directly."""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import httpx
from faster_whisper import BatchedInferencePipeline, WhisperModel

from benchmarks.recordings import Clip

CACHE = Path(os.environ.get("REFLECTOR_BENCH_CACHE") or Path(__file__).parent / "heard")
"""What faster-whisper heard, named by everything that it depends on."""

_LIBRARIES = ("faster-whisper", "ctranslate2", "av")


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
    """A server, over HTTP."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def text(self, clip: Clip) -> str:
        text: str = self._ask(clip, {})["text"]
        return text

    def words(self, clip: Clip) -> tuple[Word, ...]:
        form = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
        found = self._ask(clip, form)["words"]
        return tuple(Word(word["word"], word["start"], word["end"]) for word in found)

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
        inputs = [self.name, self._weights.name, words, clip.language, *map(version, _LIBRARIES)]
        key = hashlib.sha256(json.dumps(inputs).encode() + clip.audio).hexdigest()
        path = CACHE / f"{key}.json"
        if path.exists():
            known = json.loads(path.read_text(encoding="utf-8"))
            return Transcript(known["text"], tuple(Word(**word) for word in known["words"]))
        found = self._transcribe(clip, words=words)
        CACHE.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(found), ensure_ascii=False), encoding="utf-8")
        return found

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
