"""Make the sample recording: a stand-up meeting of about a minute, with its exact reference.

`anna.ogg` is one of its sentences, by which a speaker can be known.

Three of flite's voices read the dialogue below. Because flite prints when each phone ends, the
reference knows every word, its speaker and its start and end without anybody having listened.

    python samples/make_samples.py [--out FOLDER]

needs numpy, PyAV (``av``) and the program ``flite`` (Debian: ``apt-get install flite``). The same
versions of these give the same bytes every time.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
import wave
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from numpy.typing import NDArray

Samples = NDArray[np.int16]

RATE = 16_000
VOICES = {"Anna": "slt", "David": "rms", "Henry": "awb"}

# Each turn: seconds of silence before it, who speaks, and what is said. The wording keeps to what
# a small recogniser reads well: plain words, numbers spelled out, few names.
DIALOGUE: list[tuple[float, str, str]] = [
    (0.5, "Anna", "Hello, everyone. David, would you like to go first?"),
    (
        0.7,
        "David",
        "Yes, thank you. Yesterday I finished the new search page, and all of the tests are "
        "passing. Today I am going to fix the problem with the password.",
    ),
    (0.5, "Anna", "Is that the problem that the customer reported last week?"),
    (
        0.4,
        "David",
        "Yes. Some people could not open their account from a mobile phone. I think I can fix it "
        "by tomorrow.",
    ),
    (0.8, "Anna", "That sounds good. What about you, Henry?"),
    (
        0.9,
        "Henry",
        "I have been working on the database since Monday. The weekly report used to take five "
        "minutes. Today it takes about ten seconds.",
    ),
    (0.5, "David", "That is good news. Can I use the same idea for the search page?"),
    (0.4, "Henry", "Of course. I will show you this afternoon."),
    (0.9, "Anna", "Do you need any help with that?"),
    (
        1.1,
        "Henry",
        "Yes, please. I am still waiting for the design team. They said they would send the "
        "pictures on Friday.",
    ),
    (
        0.6,
        "Anna",
        "I will speak to them today. We still have four days before the next release.",
    ),
    (0.7, "David", "That is enough time for me."),
    (0.6, "Anna", "Very good. We will talk again tomorrow."),
]
SENTENCE_PAUSES = (0.35, 0.45, 0.3)  # silence between the sentences of a turn, used in rotation
CLOSING_SILENCE = 0.6

MARGIN = 0.05  # flite's own near-silence kept around a sentence, faded, so that no sound is cut
SPEECH_RMS = 2_000.0  # every sentence is brought to this level
ROOM_TONE_RMS = 4.0  # a faint noise floor: digital silence does not occur in recordings

# File ending -> codec, encoder options. The containers follow from the file endings.
ENCODINGS: dict[str, tuple[str, dict[str, str]]] = {
    "flac": ("flac", {"compression_level": "8"}),
    "mp3": ("libmp3lame", {"b": "40000"}),
    "m4a": ("aac", {"b": "44000"}),
    "webm": ("libopus", {"b": "24000", "application": "voip"}),
    "ogg": ("libopus", {"b": "32000", "application": "audio"}),
}


ANNA = (15.0, 18.1)  # seconds of the meeting in which only she speaks


@dataclass(frozen=True)
class Word:
    """A spoken word and the seconds at which it starts and ends."""

    word: str
    start: float
    end: float

    def shifted(self, seconds: float) -> Word:
        """The same word, ``seconds`` later."""
        return Word(self.word, self.start + seconds, self.end + seconds)


def spell(text: str) -> list[str]:
    """The words of ``text`` as the reference writes them: lower case, without punctuation."""
    return re.findall(r"[a-z']+", text.lower())


def flite(text: str, voice: str) -> tuple[Samples, list[tuple[float, float]]]:
    """Speak ``text``; return the audio and the (start, end) of each phone, pauses left out."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "speech.wav")
        command = ["flite", "-voice", voice, "-psdur", "-t", text, "-o", str(path)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        with wave.open(str(path)) as file:
            if file.getframerate() != RATE:
                raise RuntimeError(f"voice {voice} speaks at {file.getframerate()} Hz, not {RATE}")
            audio = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    phones, previous = [], 0.0
    for phone, end in re.findall(r"(\S+?):([\d.]+)", printed):
        if phone != "pau":
            phones.append((previous, float(end)))
        previous = float(end)
    return audio, phones


@cache
def phone_count(word: str, voice: str) -> int:
    """How many phones ``voice`` pronounces in ``word``; voices differ in a few words."""
    return len(flite(word, voice)[1])


def speak(sentence: str, voice: str) -> tuple[Samples, list[Word]]:
    """Speak one sentence, cut to its speech and levelled; word times count from its start.

    flite does not print where words begin, so its phones are dealt out in order: to each word as
    many as it has when spoken alone. A sentence in which these do not add up (say because a word
    is reduced in context) is refused: reword it.
    """
    audio, phones = flite(sentence, voice)
    spelled = spell(sentence)
    counts = [phone_count(word, voice) for word in spelled]
    if sum(counts) != len(phones):
        raise RuntimeError(f"cannot tell the words of {sentence!r} apart in voice {voice}")
    stops = np.cumsum(counts)
    words = [
        Word(word, phones[stop - count][0], phones[stop - 1][1])
        for word, count, stop in zip(spelled, counts, stops, strict=True)
    ]
    return _cut(audio, words[0].start, words[-1].end), [w.shifted(-words[0].start) for w in words]


def _cut(audio: Samples, start: float, end: float) -> Samples:
    """The stretch from ``start`` to ``end`` at the common level, with a faded margin around it."""
    margin = round(MARGIN * RATE)
    padded = np.pad(audio.astype(np.float64), margin)
    first, last = round(start * RATE) + margin, round(end * RATE) + margin
    loudness = np.sqrt(np.mean(padded[first:last] ** 2))
    piece = padded[first - margin : last + margin] * (SPEECH_RMS / loudness)
    fade = np.linspace(0.0, 1.0, margin)
    piece[:margin] *= fade
    piece[-margin:] *= fade[::-1]
    return _to_int16(piece)


def hold_meeting() -> tuple[Samples, dict[str, Any]]:
    """Speak the whole dialogue; return the recording and its reference."""
    clock, spoken, turns, words = 0.0, [], [], []
    for index, (silence, speaker, text) in enumerate(DIALOGUE):
        clock += silence
        said: list[Word] = []
        for number, sentence in enumerate(re.split(r"(?<=[.?!]) ", text)):
            if number:
                clock += SENTENCE_PAUSES[(index + number) % len(SENTENCE_PAUSES)]
            audio, timed = speak(sentence, VOICES[speaker])
            spoken.append((clock, audio))
            said += [word.shifted(clock) for word in timed]
            clock = said[-1].end
        words += [_rounded(word=w.word, start=w.start, end=w.end, speaker=speaker) for w in said]
        turns.append(_rounded(start=said[0].start, end=said[-1].end, speaker=speaker, text=text))
    recording = _mix(clock + CLOSING_SILENCE, spoken)
    reference = {
        "text": " ".join(text for _, _, text in DIALOGUE),
        "duration": round(len(recording) / RATE, 3),
        "speakers": {name: {"voice": f"flite {voice}"} for name, voice in VOICES.items()},
        "words": words,
        "turns": turns,
    }
    return recording, reference


def _mix(duration: float, spoken: list[tuple[float, Samples]]) -> Samples:
    """Lay the (start, audio) pairs over a faint room tone."""
    room = np.random.default_rng(0).standard_normal(round(duration * RATE)) * ROOM_TONE_RMS
    for start, audio in spoken:
        first = round((start - MARGIN) * RATE)
        room[first : first + len(audio)] += audio
    return _to_int16(room)


def _to_int16(audio: NDArray[np.float64]) -> Samples:
    samples: Samples = np.clip(np.rint(audio), -32_768, 32_767).astype(np.int16)
    return samples


def _rounded(**fields: str | float) -> dict[str, str | float]:
    """The fields, with seconds in whole milliseconds."""
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in fields.items()}


def write_wav(path: Path, audio: Samples) -> None:
    """Write 16-bit mono PCM."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(audio.tobytes())


def encode(path: Path, audio: Samples, codec: str, options: dict[str, str]) -> None:
    """Write ``audio`` with the named codec, bit-exact: no dates and no random serial numbers."""
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec, rate=RATE, layout="mono", options=options)
        assert isinstance(stream, av.AudioStream)
        stream.codec_context.flags |= Flags.bitexact
        frame = av.AudioFrame.from_ndarray(audio[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, 0
        # Nothing is resampled: this cuts frames of the size and sample format the codec takes.
        cutter = av.AudioResampler(stream.format, "mono", RATE, stream.codec_context.frame_size)
        for piece in [*cutter.resample(frame), *cutter.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


def main() -> None:
    """Write the recording in every encoding, and the reference."""
    parser = argparse.ArgumentParser(description="Make the sample meeting and its reference.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    recording, reference = hold_meeting()
    write_wav(folder / "standup.wav", recording)
    for ending, (codec, options) in ENCODINGS.items():
        encode(folder / f"standup.{ending}", recording, codec, options)
    first, last = (round(second * RATE) for second in ANNA)
    encode(folder / "anna.ogg", recording[first:last], *ENCODINGS["ogg"])
    text = json.dumps(reference, indent=1, ensure_ascii=False)
    (folder / "standup.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
