"""Reflector 0.34 as this service's client: its requests replayed, or its own processors run."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
from openai import AsyncOpenAI

TRANSCRIBE_KEY = "selfhosted"
"""What Reflector's compose file has it send for words; it sends no key for anything else."""

_SENTENCE_PUNCTUATION = re.compile(r"[.;:?!…]")
_MAX_SEGMENT_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of the transcript, as Reflector shows it."""

    speaker: int
    text: str


class Reflector(Protocol):
    """The steps in which Reflector asks this service."""

    def live(self, path: Path, language: str) -> str:
        """The text of one piece of a live recording."""

    def meeting(self, url: str, language: str) -> list[Said]:
        """A recording as the pipeline for files transcribes it."""

    def topics(self, url: str, words: Sequence[tuple[str, float, float]]) -> list[Said]:
        """Words of a live recording, with speakers once it is over."""

    def translate(self, text: str, source: str, target: str) -> str | None: ...

    def pad(self, track_url: str, output_url: str, seconds: float) -> int:
        """The size of the padded track."""


@dataclass(slots=True)
class _Word:
    text: str
    start: float
    end: float
    speaker: int = 0


@dataclass(frozen=True, slots=True)
class Replayed:
    """Sends what Reflector's processors send, by the client libraries that they use."""

    url: str

    def live(self, path: Path, language: str) -> str:
        async def ask() -> str:
            async with AsyncOpenAI(
                base_url=f"{self.url}/v1", api_key=TRANSCRIBE_KEY, timeout=90
            ) as client:
                answer = await client.audio.transcriptions.create(
                    file=path.open("rb"),
                    model="whisper-1",
                    response_format="verbose_json",
                    language=language,
                    timestamp_granularities=["word"],
                )
            return "".join(word.word for word in answer.words or ())

        return asyncio.run(ask())

    def meeting(self, url: str, language: str) -> list[Said]:
        body = {"audio_file_url": url, "language": language, "batch": True}
        answer = self._post(
            "/v1/audio/transcriptions-from-url",
            json=body,
            headers={"Authorization": f"Bearer {TRANSCRIBE_KEY}"},
        )
        words = [_Word(word["word"], word["start"], word["end"]) for word in answer["words"]]
        words.sort(key=lambda word: word.start)
        return self._spoken(url, words)

    def topics(self, url: str, words: Sequence[tuple[str, float, float]]) -> list[Said]:
        return self._spoken(url, [_Word(*word) for word in words])

    def translate(self, text: str, source: str, target: str) -> str | None:
        params = {"text": text, "source_language": source, "target_language": target}
        translation: str | None = self._post("/translate", params=params)["text"].get(target)
        return translation

    def pad(self, track_url: str, output_url: str, seconds: float) -> int:
        body = {
            "track_url": track_url,
            "output_url": output_url,
            "start_time_seconds": seconds,
            "track_index": 3,
        }
        answer = self._post("/pad", json=body)
        assert answer["cancelled"] is False
        return int(answer["size"])

    def _spoken(self, url: str, words: list[_Word]) -> list[Said]:
        turns = self._post("/diarize", params={"audio_file_url": url, "timestamp": 0})
        for word in words:
            for turn in turns["diarization"]:
                if turn["start"] <= word.start:
                    word.speaker = turn["speaker"]
        return _segments(words)

    def _post(self, path: str, **what: Any) -> Any:
        async def ask() -> Any:
            async with httpx.AsyncClient(timeout=600) as client:
                answer = await client.post(f"{self.url}{path}", follow_redirects=True, **what)
                answer.raise_for_status()
                return answer.json()

        return asyncio.run(ask())


def _segments(words: Sequence[_Word]) -> list[Said]:
    """Words of one speaker in a row, cut at punctuation once there are enough of them."""
    segments: list[Said] = []
    text = ""
    for number, word in enumerate(words):
        text += word.text
        long = len(text) > _MAX_SEGMENT_CHARACTERS and _SENTENCE_PUNCTUATION.search(word.text)
        last = number + 1 == len(words) or words[number + 1].speaker != word.speaker
        if long or last:
            segments.append(Said(word.speaker, text))
            text = ""
    return segments


_DRIVER = Path(__file__).with_name("reflector_checkout.py")


@dataclass(frozen=True, slots=True)
class Checkout:
    """Runs the processors of a checkout, unmodified, by the Python of its own environment."""

    url: str
    folder: Path
    settings: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        settings = {
            "TRANSCRIPT_BACKEND": "modal",
            "TRANSCRIPT_URL": self.url,
            "TRANSCRIPT_MODAL_API_KEY": TRANSCRIBE_KEY,
            "DIARIZATION_BACKEND": "modal",
            "DIARIZATION_URL": self.url,
            "TRANSLATION_BACKEND": "modal",
            "TRANSLATE_URL": self.url,
            "PADDING_URL": self.url,
        }
        object.__setattr__(self, "settings", settings)

    def live(self, path: Path, language: str) -> str:
        return str(self._run("live", path=str(path), language=language))

    def meeting(self, url: str, language: str) -> list[Said]:
        return [Said(*one) for one in self._run("meeting", url=url, language=language)]

    def topics(self, url: str, words: Sequence[tuple[str, float, float]]) -> list[Said]:
        return [Said(*one) for one in self._run("topics", url=url, words=words)]

    def translate(self, text: str, source: str, target: str) -> str | None:
        found: str | None = self._run("translate", text=text, source=source, target=target)
        return found

    def pad(self, track_url: str, output_url: str, seconds: float) -> int:
        return int(self._run("pad", track_url=track_url, output_url=output_url, seconds=seconds))

    def _run(self, step: str, **given: object) -> Any:
        server = self.folder / "server"
        python = os.environ.get("TEST_CHECKOUT_PYTHON", str(server / ".venv" / "bin" / "python"))
        done = subprocess.run(
            [
                python,
                "-P",
                _DRIVER,
                step,
                json.dumps(given),
            ],  # -P: this folder has a reflector, too
            env={
                **os.environ,
                **self.settings,
                "PYTHONPATH": str(server),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            cwd=_DRIVER.parent,  # and not where a .env may be
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])
