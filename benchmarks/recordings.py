"""Real recordings with reference texts, and long ones that are joined from them."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import audio
from reflector_gpu.types import SAMPLE_RATE, Samples

VARIABLE = "REFLECTOR_BENCH_AUDIO"
WANTED = f"""\
{VARIABLE} must name a folder of real recordings:
  real/references.tsv           columns file, language (ISO 639-1), text; files lie beside it
  real/references_meetings.tsv  the same, if there are meetings; files relative to real/
  meetings/phone_call.stm, .wav one phone call, optional
Word times are read from real/*.ctm, real/mfa_*.TextGrid and real/librivox_sense_*.json.
"""

KINDS: Mapping[str, tuple[str, ...]] = {
    "books": ("libri_", "LJ", "librivox_", "sonnet_", "mls_", "mfa_61"),
    "learners": ("so762_",),
    "commands": ("stp_", "cards_", "sphinx4_digits", "ms_lamp", "google_brooklyn"),
    "phone, conference": ("earnings22_", "osr_", "phone_call"),
    "meetings": ("ami_", "trn"),
    "spontaneous": ("mfa_acoustic", "mfa_cold", "pv_diarization"),
    "radio": ("noa_hi_",),
}
OTHERS = "sentences"
"""The kind of the files that no prefix in ``KINDS`` fits: sentences that were read aloud."""

LOUDNESS = 0.08
"""Root mean square of each clip in a joined recording."""

LONGEST_CLIP = 25  # seconds, in a joined recording

_BEFORE_FIRST = 0.5  # seconds kept before the first utterance of a meeting


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording, the language in it, and what is said."""

    name: str
    kind: str
    language: str
    text: str
    audio: bytes
    begin: float = 0.0
    """The seconds of the file that are left out, because the text says nothing of them."""


@dataclass(frozen=True, slots=True)
class Joining:
    """How clips are joined: pauses between them, in seconds, and noise under all of it."""

    name: str
    pauses: tuple[float, float] = (0.3, 6.0)
    noise_db: float | None = 25.0
    """Speech above pink noise; None: no noise."""


JOININGS = (
    Joining("pauses, room noise at 25 dB"),
    Joining("pauses, pink noise at 10 dB", noise_db=10.0),
    Joining("no pauses", pauses=(0.0, 0.0), noise_db=None),
)


@dataclass(frozen=True, slots=True)
class Scope:
    """How much of it is measured."""

    models: Sequence[str]
    every: int
    """One clip in so many."""
    minutes: float
    """Length of a joined recording."""
    seeds: Sequence[int]
    """One joined recording of each kind for each."""


FULL = Scope(models=("base", "tiny.en"), every=1, minutes=10, seeds=(1, 2))
QUICK = Scope(models=("base",), every=10, minutes=1.5, seeds=(1,))


def folder() -> Path | None:
    """Where the recordings are, if somebody said so and it is true."""
    named = os.environ.get(VARIABLE)
    if not named or not (Path(named) / "real" / "references.tsv").exists():
        return None
    return Path(named)


def clips(folder: Path) -> list[Clip]:
    """All recordings that have a reference text."""
    real = folder / "real"
    found = list(_listed(real / "references.tsv"))
    if (meetings := real / "references_meetings.tsv").exists():
        found += _listed(meetings)
    if (call := folder / "meetings" / "phone_call.stm").exists():
        found.append(_clip(call.with_suffix(".wav"), "en", _stm_text(call)))
    return found


def kind_of(name: str) -> str:
    """What is recorded in a file of that name."""
    return next((kind for kind, prefixes in KINDS.items() if name.startswith(prefixes)), OTHERS)


def joined(clips: Sequence[Clip], how: Joining, seconds: float, seed: int) -> Clip:
    """One recording of at least ``seconds``, with the clips in an order that ``seed`` fixes."""
    rng = np.random.default_rng(seed)
    parts: list[Samples] = []
    texts: list[str] = []
    left = int(seconds * SAMPLE_RATE)
    while left > 0:  # the clips are gone through again if they do not suffice
        for number in rng.permutation(len(clips)):
            samples = audio.heard(clips[number].audio)
            pause = np.zeros(int(rng.uniform(*how.pauses) * SAMPLE_RATE), np.float32)
            parts += [samples * (LOUDNESS / _loudness(samples)), pause]
            texts.append(clips[number].text)
            left -= len(samples) + len(pause)
            if left <= 0:
                break
    speech = np.concatenate(parts)
    if how.noise_db is not None:
        speech = speech + _pink(len(speech), rng) * LOUDNESS * 10 ** (-how.noise_db / 20)
    speech = (speech / max(1.0, float(np.abs(speech).max()))).astype(np.float32)
    name = f"{how.name} {seed}"
    return Clip(name, how.name, clips[0].language, " ".join(texts), audio.wav(speech))


def joinable(clips: Sequence[Clip]) -> list[Clip]:
    """The English clips of which long recordings are made: read speech, none of them long."""
    kinds = ("books", OTHERS)
    return [
        clip
        for clip in clips
        if clip.language == "en"
        and clip.kind in kinds
        and len(audio.heard(clip.audio)) <= LONGEST_CLIP * SAMPLE_RATE
    ]


def _listed(references: Path) -> Iterator[Clip]:
    with references.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            path = references.parent / row["file"]
            utterances = references.with_name(f"ami_{path.stem}.stm")
            found = _clip(path, row["language"], row["text"])
            yield _from_first(found, utterances) if utterances.exists() else found


def _clip(path: Path, language: str, text: str) -> Clip:
    return Clip(path.name, kind_of(path.name), language, text, path.read_bytes())


def _from_first(clip: Clip, utterances: Path) -> Clip:
    """``clip`` from its first utterance on: somebody else may speak before it."""
    begin = min(float(line[3]) for line in _stm(utterances)) - _BEFORE_FIRST
    if begin <= 0:
        return clip
    samples = audio.heard(clip.audio)[int(begin * SAMPLE_RATE) :]
    return replace(clip, audio=audio.wav(samples), begin=begin)


def _stm(path: Path) -> list[list[str]]:
    """The utterances: ``file channel speaker start end words``."""
    return [line.split(maxsplit=5) for line in path.read_text(encoding="utf-8").splitlines()]


def _stm_text(path: Path) -> str:
    """What all speakers say."""
    return " ".join(words for *_, words in _stm(path))


def _loudness(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples)))) + 1e-9


def _pink(count: int, rng: np.random.Generator) -> Samples:
    """Noise with as much power in each octave, and a root mean square of 1."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    noise = np.fft.irfft(spectrum, count).astype(np.float32)
    return noise / np.float32(_loudness(noise))
