"""Recordings of which it is known who speaks when: real ones, and mixtures made on the spot."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, zip_longest
from pathlib import Path

import numpy as np

from benchmarks.audio import SAMPLES, heard, read, wav
from reflector_gpu.types import SAMPLE_RATE, Samples

_VOICES = ("rms", "slt", "awb", "kal16")  # flite's, of 16 kHz
_SOFTEST = 0.02  # of a sentence's peak; what is softer on either side of it is no speech
_MINUTES = 1.5


@dataclass(frozen=True, slots=True)
class Conversation:
    """An audio file, and its (speaker, start, end in seconds), in which turns may overlap."""

    name: str
    audio: bytes
    seconds: float
    turns: Sequence[tuple[str, float, float]]

    @classmethod
    def of(cls, path: Path, turns: Iterable[tuple[str, float, float]]) -> Conversation:
        seconds = len(read(path)) / SAMPLE_RATE
        return cls(path.stem, path.read_bytes(), seconds, list(turns))

    @property
    def speakers(self) -> int:
        return len({name for name, _, _ in self.turns})

    @property
    def talk(self) -> float:
        """Of the recording, the share that people speak in, those at once counted each."""
        return sum(end - start for _, start, end in self.turns) / self.seconds


def sample_meeting() -> Conversation:
    known = json.loads((SAMPLES / "standup.json").read_text())["turns"]
    turns = ((turn["speaker"], turn["start"], turn["end"]) for turn in known)
    return Conversation.of(SAMPLES / "standup.wav", turns)


def recorded(folder: Path) -> list[Conversation]:
    """Each ``.wav`` in ``folder`` that has an ``.rttm``."""
    return [
        Conversation.of(path.with_suffix(".wav"), _rttm(path))
        for path in sorted(folder.glob("*.rttm"))
    ]


def joined(name: str, parts: Iterable[Conversation]) -> Conversation:
    """One recording of all ``parts``, one after the other. Equal names are the same person."""
    sounds: list[Samples] = []
    turns: list[tuple[str, float, float]] = []
    at = 0.0
    for part in parts:
        sounds.append(heard(part.audio))
        turns += [(who, start + at, end + at) for who, start, end in part.turns]
        at += len(sounds[-1]) / SAMPLE_RATE
    return Conversation(name, wav(np.concatenate(sounds)), at, turns)


def of_sentences(folder: Path) -> list[Conversation]:
    """Everything that ``folder`` has of spk1 and of spk2, by turns and each alone."""
    first, second = (
        [(name, read(path)) for path in sorted(folder.glob(f"{name}_*.wav"))]
        for name in ("spk1", "spk2")
    )
    by_turns = [one for pair in zip_longest(first, second) for one in pair if one]
    return [
        mixed("spk1+spk2", by_turns),
        mixed("spk1, spk2", [*first, *second]),
        mixed("spk1", first),
        mixed("spk2", second),
    ]


def of_flite() -> list[Conversation]:
    """What is said in the sample meeting, read by one to four voices; none without flite."""
    if shutil.which("flite") is None:
        return []
    known = json.loads((SAMPLES / "standup.json").read_text())["turns"]
    texts = [turn["text"] for turn in known]
    read_aloud = {voice: [_flite(voice, text) for text in texts] for voice in _VOICES}
    found = []
    for count in range(1, len(_VOICES) + 1):
        # Everybody reads other sentences, and in each round another one begins.
        whose = islice(cycle(_VOICES[:count] + _VOICES[count - 1 :: -1]), 100)
        turns = ((voice, read_aloud[voice][i % len(texts)]) for i, voice in enumerate(whose))
        found.append(mixed(f"{count} of flite", _lasting(turns, _MINUTES * 60)))
    return found


def mixed(name: str, turns: Iterable[tuple[str, Samples]]) -> Conversation:
    """One turn after the other, half a second apart."""
    pause = np.zeros(SAMPLE_RATE // 2, np.float32)
    parts, found, at = [pause], [], len(pause)
    for speaker, samples in turns:
        said = np.flatnonzero(np.abs(samples) > _SOFTEST * np.abs(samples).max())[[0, -1]]
        start, end = (at + said) / SAMPLE_RATE
        found.append((speaker, float(start), float(end)))
        parts += [samples, pause]
        at += len(samples) + len(pause)
    return Conversation(name, wav(np.concatenate(parts)), at / SAMPLE_RATE, found)


def _lasting(turns: Iterable[tuple[str, Samples]], seconds: float) -> Iterator[tuple[str, Samples]]:
    for speaker, samples in turns:
        yield speaker, samples
        seconds -= len(samples) / SAMPLE_RATE
        if seconds <= 0:
            return


def _flite(voice: str, text: str) -> Samples:
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", file.name], check=True)
        return read(Path(file.name))


def _rttm(path: Path) -> Iterator[tuple[str, float, float]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, _, _, start, duration, _, _, speaker, *_ = line.split()
        if kind == "SPEAKER":
            yield speaker, float(start), float(start) + float(duration)
