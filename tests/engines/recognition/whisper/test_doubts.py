"""What Whisper writes in silence, and what it repeats, is told from what was said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from faster_whisper import WhisperModel

from reflector_gpu.engines.recognition.whisper import WhisperRecogniser
from reflector_gpu.types import TranscribeOptions
from tests.engines.recognition.whisper.hearing import (
    ENGLISH,
    SLOW,
    TOLERANCE,
    Meddled,
    Pretend,
    hear,
    most_slow,
)
from tests.engines.sounds import STEADY, clicks, hum, noise, silence, tone
from tests.engines.tiny import Clip, clips, text_of, words_of, worst_times


@pytest.mark.slow
def test_no_speech_gives_no_words(engine: WhisperRecogniser) -> None:
    sounds = {**STEADY, "one click": clicks(1), "clicks": clicks(20)}
    results = hear(engine, list(sounds.values()), TranscribeOptions())
    for name, result in zip(sounds, results, strict=True):
        assert text_of(result) == "", name


@pytest.mark.parametrize("language", ["en", pytest.param("es", marks=SLOW)])
def test_sounds_have_no_words_in_a_language_that_was_asked_for(
    engine: WhisperRecogniser, language: str
) -> None:
    sounds = [tone(200), tone(900), tone(1000), tone(5000), hum(262), noise(), silence(2)]
    results = hear(engine, sounds, TranscribeOptions(language=language))
    assert [text_of(result) for result in results] == [""] * len(sounds)


@pytest.mark.parametrize("clip", most_slow(clips("en")[::5]), ids=lambda clip: clip.path.stem)
def test_no_word_is_lost_or_added_beside_sound_that_is_no_speech(
    engine: WhisperRecogniser, clip: Clip
) -> None:
    others = [silence(5), noise(3, 0.05), hum(50, 3)]
    joined = [np.concatenate([clip.samples, silence(0.3), other]) for other in others]
    for result in hear(engine, joined, ENGLISH):
        assert text_of(result) == clip.text
        starts, ends = worst_times(result, clip)
        assert starts <= TOLERANCE
        assert ends <= TOLERANCE


@pytest.mark.parametrize("clip", most_slow(clips("en")[::7]), ids=lambda clip: clip.path.stem)
@pytest.mark.parametrize("loop", ["nine", "no question"])
@pytest.mark.parametrize("times", [30, None], ids=["often", "for ever"])
def test_a_loop_is_said_once_and_the_words_before_it_are_where_they_were_spoken(
    engine: WhisperRecogniser, pretend: Pretend, clip: Clip, loop: str, times: int | None
) -> None:
    pretend(f" {clip.text}| {loop}", times)
    (result,) = hear(engine, [clip.samples], ENGLISH)
    words = words_of(result)
    assert f"{clip.text} {loop}".startswith(text_of(result))
    assert len(words) >= len(clip.words)
    for heard, true in zip(words, clip.words, strict=False):
        assert heard.start == pytest.approx(true.start, abs=TOLERANCE)
    scores = result.segments[0].scores
    assert scores is not None
    assert scores.compression_ratio > 2.4, "the client can see that the text was looping"
    assert len(result.segments[0].tokens) < 10


@pytest.mark.slow
def test_a_loop_that_has_time_is_said_once_if_it_never_ended(
    engine: WhisperRecogniser, pretend: Pretend
) -> None:
    """A row's tokens fill 30 seconds at a pace at which people do speak."""
    clip = clips("en")[0]
    loop = "one two three four five six seven eight nine zero"
    pretend(f" {clip.text}| {loop}", None)
    samples = np.resize(clip.samples, 29 * 16_000)
    (result,) = hear(engine, [samples], ENGLISH)
    assert text_of(result) == f"{clip.text} {loop}"


@pytest.mark.parametrize(
    ("no_speech_prob", "avg_logprob", "said"),
    [(0.5, -0.9, True), (0.7, -0.9, True), (0.7, -1.6, False), (1, -0.3, True), (1, -0.9, False)],
)
def test_the_surer_of_silence_the_surer_it_must_be_of_the_words(
    engine: WhisperRecogniser,
    pretend: Pretend,
    no_speech_prob: float,
    avg_logprob: float,
    said: bool,
) -> None:
    clip = clips("en")[0]
    pretend(f" {clip.text}", no_speech_prob=no_speech_prob, avg_logprob=avg_logprob)
    (result,) = hear(engine, [clip.samples], ENGLISH)
    assert text_of(result) == (clip.text if said else "")


def test_a_lone_word_that_it_finds_improbable_itself_is_not_said(
    engine: WhisperRecogniser, pretend: Pretend
) -> None:
    clip = clips("en")[0]
    pretend(" nine")
    (result,) = hear(engine, [clip.samples], ENGLISH)
    assert text_of(result) == ""


def test_words_that_are_really_repeated_stay(engine: WhisperRecogniser) -> None:
    counting = next(clip for clip in clips("en") if clip.text.startswith("one two"))
    one, two = counting.words[:2]
    pair = counting.samples[int(one.start * 16_000) : int(two.end * 16_000)]
    samples = np.concatenate([silence(0.2), *[pair, silence(0.3)] * 4])
    (result,) = hear(engine, [samples], ENGLISH)
    assert text_of(result) == "one two one two one two one two"


@pytest.mark.parametrize("temperature", [None, 0.4])
def test_a_chunk_that_a_prompt_leaves_empty_is_decoded_without_it(
    engine: WhisperRecogniser,
    inner: WhisperModel,
    monkeypatch: pytest.MonkeyPatch,
    temperature: float | None,
) -> None:
    clip, real, tried = clips("en")[0], inner.model, []

    def generate(encoded: Any, prompts: Any, **options: Any) -> Any:
        results = real.generate(encoded, prompts, **options)
        told = inner.hf_tokenizer.token_to_id("<|startofprev|>") in prompts[0]
        tried.append((told, options["sampling_temperature"]))
        sequence = [] if told else results[0].sequences_ids[0]
        score = -3.0 if told or options["sampling_temperature"] < 0.5 else -0.1
        return [SimpleNamespace(sequences_ids=[sequence], scores=[score], no_speech_prob=0.0)]

    monkeypatch.setattr(inner, "model", Meddled(real, generate=generate))
    options = TranscribeOptions(language="en", prompt="hello team", temperature=temperature)
    (result,) = hear(engine, [clip.samples], options)
    assert len(words_of(result)) >= len(clip.words) - 1
    first = temperature or 0.0
    assert [one for told, one in tried if told] == [first]
    assert [one for told, one in tried if not told] == [
        one for one in (0.0, 0.2, 0.4, 0.6) if one >= first
    ]


@pytest.mark.parametrize(
    ("live", "repeated", "tries"), [(False, 1, 6), (True, 1, 1), (False, 12, 6), (True, 12, 2)]
)
def test_live_audio_is_decoded_once_unless_it_repeats_itself(
    engine: WhisperRecogniser,
    inner: WhisperModel,
    monkeypatch: pytest.MonkeyPatch,
    live: bool,
    repeated: int,
    tries: int,
) -> None:
    clip, real, tried = clips("en")[0], inner.model, []

    def generate(encoded: Any, prompts: Any, **options: Any) -> Any:
        tried.append(options["sampling_temperature"])
        (result,) = real.generate(encoded, prompts, **{**options, "sampling_temperature": 0})
        written = [result.sequences_ids[0] * repeated]
        return [SimpleNamespace(sequences_ids=written, scores=[-3.0], no_speech_prob=0.0)]

    monkeypatch.setattr(inner, "model", Meddled(real, generate=generate))
    hear(engine, [clip.samples], TranscribeOptions(language="en", live=live))
    assert len(tried) == tries


@pytest.mark.parametrize("voiced", [False, True])
def test_silence_is_doubted_where_somebody_was_heard(
    engine: WhisperRecogniser, inner: WhisperModel, monkeypatch: pytest.MonkeyPatch, voiced: bool
) -> None:
    clip, real = clips("en")[0], inner.model

    def generate(encoded: Any, prompts: Any, **options: Any) -> Any:
        (result,) = real.generate(encoded, prompts, **{**options, "sampling_temperature": 0})
        score = -0.8 if options["sampling_temperature"] else -3.0
        return [
            SimpleNamespace(
                sequences_ids=result.sequences_ids, scores=[score], no_speech_prob=0.657
            )
        ]

    monkeypatch.setattr(inner, "model", Meddled(real, generate=generate))
    (result,) = hear(engine, [clip.samples], TranscribeOptions(language="en", voiced=voiced))
    assert text_of(result) == (clip.text if voiced else "")
