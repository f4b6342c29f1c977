"""Whisper on a tiny trained model in the production format: real words in two languages."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import ctranslate2
import numpy as np
import pytest
from faster_whisper import WhisperModel
from faster_whisper.audio import pad_or_trim
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import merge_punctuations

from reflector_gpu.engines.recognition import whisper_decoding
from reflector_gpu.engines.recognition.catalog import MODELS
from reflector_gpu.engines.recognition.resolution import Recognisers
from reflector_gpu.engines.recognition.whisper import WhisperRecogniser, local
from reflector_gpu.engines.recognition.whisper_alignment import (
    APPENDED,
    PREPENDED,
    TimedText,
    aligned,
    whole,
)
from reflector_gpu.errors import EngineFailed, ModelNotInstalled
from reflector_gpu.pipeline import unheard
from reflector_gpu.types import SAMPLE_RATE, Chunk, Recognition, Samples, Token, TranscribeOptions
from tests.engines.sounds import STEADY, clicks, hum, noise, silence, tone
from tests.engines.tiny import WHISPER, Clip, clips, text_of, words_of, worst_times

TOLERANCE = 0.3
ENGLISH = TranscribeOptions(language="en")


@pytest.fixture(scope="module")
def engine() -> WhisperRecogniser:
    engine = WhisperRecogniser(str(WHISPER))
    engine.load()
    return engine


@pytest.fixture
def together(engine: WhisperRecogniser, monkeypatch: pytest.MonkeyPatch) -> WhisperRecogniser:
    """One that decodes the chunks of a batch together, as it does on a GPU."""
    monkeypatch.setattr(engine, "_lanes", None)
    return engine


SLOW = pytest.mark.slow


def most_slow(spoken: list[Clip]) -> list[object]:
    """Parameters of ``spoken``, of which all but the first take long together."""
    return [pytest.param(clip, marks=[SLOW] if i else []) for i, clip in enumerate(spoken)]


@pytest.fixture(scope="module", params=["en", pytest.param("es", marks=SLOW)])
def spoken(request: pytest.FixtureRequest) -> list[Clip]:
    return clips(request.param)[::2]


class Meddled:
    """A loaded CTranslate2 model, some of whose methods are others."""

    def __init__(self, real: Any, **methods: Callable[..., Any]) -> None:
        self._real = real
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.fixture
def inner(engine: WhisperRecogniser) -> WhisperModel:
    assert engine._decoder is not None
    return engine._decoder._model


def hear(
    engine: WhisperRecogniser, batch: list[Samples], options: TranscribeOptions
) -> list[Recognition]:
    results = engine.transcribe(batch, options)
    found = [result for result in results if isinstance(result, Recognition)]
    assert len(found) == len(batch)
    return found


def test_a_batch_is_heard_word_for_word_where_it_was_spoken(
    engine: WhisperRecogniser, spoken: list[Clip]
) -> None:
    options = TranscribeOptions(language=spoken[0].language)
    results = hear(engine, [clip.samples for clip in spoken], options)
    assert [text_of(result) for result in results] == [clip.text for clip in spoken]
    for result, clip in zip(results, spoken, strict=True):
        starts, ends = worst_times(result, clip)
        assert starts <= TOLERANCE, clip.path.name
        assert ends <= TOLERANCE, clip.path.name


def test_languages_are_told_apart_within_a_batch(engine: WhisperRecogniser) -> None:
    both = [*clips("en")[:3], *clips("es")[:3]]
    results = hear(engine, [clip.samples for clip in both], TranscribeOptions())
    assert [result.language for result in results] == [clip.language for clip in both]
    assert all(0.5 < result.certainty <= 1 for result in results)
    told = hear(engine, [both[0].samples], TranscribeOptions(languages=("es",)))
    assert [(one.language, one.certainty) for one in told] == [("es", 1.0)]
    assert [text_of(result) for result in results] == [clip.text for clip in both]


def test_spanish_is_translated_into_english(engine: WhisperRecogniser) -> None:
    spoken = clips("es")[0]
    options = TranscribeOptions(language="es", task="translate")
    (result,) = hear(engine, [spoken.samples], options)
    assert spoken.text == "hola equipo"
    assert text_of(result) == "hello team"


@pytest.mark.parametrize(
    "options",
    [
        TranscribeOptions(),
        pytest.param(TranscribeOptions(language="es", task="translate"), marks=SLOW),
        pytest.param(
            TranscribeOptions(language="en", prompt="hello team", hotwords=("budget", "agenda")),
            marks=SLOW,
        ),
    ],
    ids=["detected", "translate", "prompt"],
)
def test_alone_is_as_in_a_batch_of_languages_lengths_and_no_speech(
    together: WhisperRecogniser, options: TranscribeOptions
) -> None:
    heard = [clip.samples for clip in (*clips("en")[::9], *clips("es")[::6])]
    mixed = [
        *heard,
        np.concatenate([heard[0], silence(2.5), heard[-1]]),
        heard[1][:6000],
        noise(8.0),
        silence(1.0),
    ]
    for samples, result in zip(mixed, hear(together, mixed, options), strict=True):
        (alone,) = hear(together, [samples], options)
        assert alone.language == result.language
        assert text_of(alone) == text_of(result)
        for one, other in zip(words_of(alone), words_of(result), strict=True):
            assert (one.start, one.end) == pytest.approx((other.start, other.end), abs=0.03)


def test_on_a_cpu_nothing_depends_on_what_is_beside_it(engine: WhisperRecogniser) -> None:
    heard = [*(clip.samples for clip in clips("en")[:5]), noise(8.0), clips("es")[0].samples]
    alone = [hear(engine, [samples], TranscribeOptions())[0] for samples in heard]
    assert hear(engine, heard, TranscribeOptions()) == alone


def test_on_a_cpu_the_chunks_of_a_batch_are_heard_side_by_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    engine = WhisperRecogniser(str(WHISPER))
    engine.load()
    assert engine._decoder is not None
    model = engine._decoder._model
    real, both = model.model, threading.Barrier(2, timeout=60)  # broken unless two meet

    def generate(encoded: Any, *args: Any, **options: Any) -> Any:
        both.wait()
        return real.generate(encoded, *args, **options)

    monkeypatch.setattr(model, "model", Meddled(real, generate=generate))
    spoken = clips("en")[:2]
    results = hear(engine, [clip.samples for clip in spoken], ENGLISH)
    assert [text_of(result) for result in results] == [clip.text for clip in spoken]
    engine.close()


@pytest.mark.parametrize(("threads", "chunks"), [(1, 1), (2, 2), (64, 4)])
def test_a_cpu_is_given_no_more_chunks_at_once_than_it_has_threads(
    threads: int, chunks: int
) -> None:
    assert MODELS["base"].spec.on_cpu(threads).max_batch == chunks


def test_the_text_is_that_of_faster_whisper_itself(engine: WhisperRecogniser) -> None:
    model = WhisperModel(str(WHISPER), device="cpu", compute_type="int8", local_files_only=True)
    spoken = clips("en")[:4]
    ours = hear(engine, [clip.samples for clip in spoken], TranscribeOptions(language="en"))
    for clip, result in zip(spoken, ours, strict=True):
        segments, _ = model.transcribe(clip.samples, language="en")
        assert text_of(result) == " ".join(segment.text.strip() for segment in segments)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_words_are_where_faster_whisper_aligns_them(inner: WhisperModel, language: str) -> None:
    """With a text that takes several tokens a character as well, and punctuation on both sides."""
    batch = [clip.samples for clip in clips("en")[:3]]
    encoded = inner.encode(np.stack([pad_or_trim(inner.feature_extractor(one)) for one in batch]))
    tokenizer = Tokenizer(inner.hf_tokenizer, True, task="transcribe", language=language)
    written = [tokenizer.encode(text) for text in (" nine, (two)!", " é 好吗？", " hello team")]
    frames = [len(samples) // 160 for samples in batch]
    theirs = inner.find_alignment(tokenizer, written, encoded, frames)
    ours = aligned(inner, tokenizer, encoded, written, batch)
    for row, words in zip(theirs, ours, strict=True):
        merge_punctuations(row, PREPENDED, APPENDED)
        expected = [part for part in row if part["word"].strip()]
        assert [word.text for word in words] == [part["word"].strip() for part in expected]
        for word, part in zip(words, expected, strict=True):
            assert (word.start, word.end) == pytest.approx((part["start"], part["end"]))
            assert word.probability == pytest.approx(part["probability"])
            assert [token.id for token in word.tokens] == part["tokens"]
            assert b"".join(token.data for token in word.tokens).decode().strip() == word.text


def test_live_audio_is_heard_without_a_whole_window_of_silence(
    engine: WhisperRecogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = clips("en")[0]
    whole = hear(engine, [clip.samples], ENGLISH)
    heard: list[int] = []
    encode = WhisperModel.encode

    def counted(model: WhisperModel, features: Samples) -> ctranslate2.StorageView:
        heard.append(features.shape[-1])
        return encode(model, features)

    monkeypatch.setattr(WhisperModel, "encode", counted)
    live = hear(engine, [clip.samples], replace(ENGLISH, live=True))
    assert heard == [len(clip.samples) // 160 + 500]
    assert text_of(live[0]) == text_of(whole[0])


def test_scores_come_with_the_segments(engine: WhisperRecogniser) -> None:
    clip = clips("en")[0]
    (result,) = hear(engine, [clip.samples], TranscribeOptions(language="en"))
    scores = result.segments[0].scores
    assert scores is not None
    assert -1 < scores.avg_logprob <= 0
    assert 0 <= scores.no_speech_prob < 0.6
    assert result.segments[0].tokens


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


class Pretend(Protocol):
    """Have a loaded model write ``text`` for whatever it hears: once, so often, or for ever."""

    def __call__(self, text: str, times: int | None = 1, **scores: float) -> None: ...


@pytest.fixture
def pretend(inner: WhisperModel, monkeypatch: pytest.MonkeyPatch) -> Pretend:
    real = inner.model

    def write(text: str, times: int | None = 1, **scores: float) -> None:
        first, _, loop = text.partition("|")

        def tokens(room: int) -> list[int]:
            unit = inner.hf_tokenizer.encode(loop).ids
            written = [*inner.hf_tokenizer.encode(first).ids, *unit * (times or room)]
            return written if times else written[:room]

        def generate(encoded: Any, prompts: Any, *, max_length: int, **options: Any) -> list[Any]:
            results = real.generate(encoded, prompts, max_length=max_length, **options)
            return [
                SimpleNamespace(
                    sequences_ids=[tokens(max_length // 2)],
                    scores=[scores.get("avg_logprob", one.scores[0])],
                    no_speech_prob=scores.get("no_speech_prob", one.no_speech_prob),
                )
                for one in results
            ]

        monkeypatch.setattr(inner, "model", Meddled(real, generate=generate))

    return write


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


@pytest.mark.parametrize("seconds", [1, 2, 4, 30])
def test_there_is_room_for_languages_that_take_many_tokens(
    engine: WhisperRecogniser,
    inner: WhisperModel,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
) -> None:
    """Burmese takes up to fifty a second."""
    real, rooms = inner.model, []

    def generate(encoded: Any, prompts: Any, *, max_length: int, **options: Any) -> Any:
        rooms.append(min(max_length // 2, max_length - len(prompts[0]) + 1))
        return real.generate(encoded, prompts, max_length=max_length, **options)

    monkeypatch.setattr(inner, "model", Meddled(real, generate=generate))
    hear(engine, [noise(seconds)], ENGLISH)
    hear(engine, [noise(seconds)], TranscribeOptions(language="en", prompt="hello team " * 20))
    assert min(rooms) >= min(50 * seconds, 448 // 2)


@pytest.mark.parametrize("method", ["encode", "detect_language", "generate", "align"])
def test_a_batch_too_large_for_the_device_fails_as_a_whole_and_its_halves_do_not(
    together: WhisperRecogniser,
    inner: WhisperModel,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    spoken = clips("en")[:2]
    real = getattr(inner.model, method)

    def short_of_memory(rows: Any, *args: Any, **options: Any) -> Any:
        if rows.shape[0] > 1:
            raise RuntimeError("CUDA failed with error out of memory")
        return real(rows, *args, **options)

    monkeypatch.setattr(inner, "model", Meddled(inner.model, **{method: short_of_memory}))
    with pytest.raises(EngineFailed, match=r"batch of 2.*out of memory"):
        together.transcribe([clip.samples for clip in spoken], TranscribeOptions())
    for half in spoken:
        (result,) = hear(together, [half.samples], TranscribeOptions())
        assert text_of(result) == half.text


@pytest.mark.parametrize("compute_type", ["int8", "float32", "auto"])
def test_the_compute_type_makes_no_difference_to_the_words(compute_type: str) -> None:
    engine = WhisperRecogniser(str(WHISPER), compute_type=compute_type)
    engine.load()
    spoken = clips("en")[:2]
    results = hear(engine, [clip.samples for clip in spoken], ENGLISH)
    assert [text_of(result) for result in results] == [clip.text for clip in spoken]


@pytest.mark.parametrize("compute_type", ["float16", "int4"])
def test_a_compute_type_that_the_device_lacks_is_told_the_others(compute_type: str) -> None:
    engine = WhisperRecogniser(str(WHISPER), compute_type=compute_type)
    with pytest.raises(ModelNotInstalled, match=f"'{compute_type}'.*float32.*int8"):
        engine.load()


@pytest.mark.skipif(ctranslate2.get_cuda_device_count() > 0, reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelNotInstalled, match="'cuda'"):
        WhisperRecogniser(str(WHISPER), device="cuda").load()


def test_a_folder_without_a_model_says_so(tmp_path: object) -> None:
    with pytest.raises(ModelNotInstalled, match=r"model\.bin"):
        WhisperRecogniser(str(tmp_path)).load()


def test_a_prompt_and_hotwords_of_any_length_leave_room_for_the_text(
    engine: WhisperRecogniser,
) -> None:
    options = TranscribeOptions(
        language="en", prompt="hello team " * 400, hotwords=("budget",) * 400
    )
    (result,) = hear(engine, [clips("en")[0].samples], options)
    assert result.language == "en"


def test_cantonese_came_with_large_v3() -> None:
    assert "yue" in MODELS["large-v3-turbo"].spec.languages
    assert "yue" not in MODELS["large-v2"].spec.languages


@pytest.mark.parametrize("name", ["vocabulary.txt", "vocabulary.json"])
@pytest.mark.parametrize(("entries", "languages"), [(51_864, 1), (51_865, 99)])
def test_a_folder_is_asked_which_languages_it_speaks(
    tmp_path: Path, name: str, entries: int, languages: int
) -> None:
    """The tokenizer of an English-only model has all languages in it."""
    tokens = [f"token{i}" for i in range(entries)]
    written = json.dumps(tokens) if name.endswith("json") else "\n".join(tokens)
    (tmp_path / name).write_text(written)
    (tmp_path / "tokenizer.json").write_text('{"added_tokens": [{"content": "<|es|>"}]}')
    (tmp_path / "model.bin").touch()
    model = local("mine", tmp_path)
    assert model is not None
    assert len(model.spec.languages) == languages
    assert model.spec.translates is model.spec.detects is (languages > 1)


@pytest.mark.parametrize(("layer", "translates"), [(31, True), (3, False), (None, True)])
def test_what_was_cut_down_from_large_v3_does_not_translate(
    tmp_path: Path, layer: int | None, translates: bool
) -> None:
    (tmp_path / "tokenizer.json").write_text('{"added_tokens": [{"content": "<|yue|>"}]}')
    (tmp_path / "model.bin").touch()
    if layer is not None:
        heads = {"alignment_heads": [[2, 4], [layer, 6]]}
        (tmp_path / "config.json").write_text(json.dumps(heads))
    model = local("mine", tmp_path)
    assert model is not None
    assert model.spec.translates is translates
    assert "yue" in model.spec.languages


def test_only_the_full_multilingual_models_translate() -> None:
    able = {"tiny", "base", "small", "medium", "large-v2", "large-v3"}
    unable = {"large-v3-turbo", "distil-large-v3", "distil-large-v3.5", "base.en"}
    assert all(MODELS[name].spec.translates for name in able)
    assert not any(MODELS[name].spec.translates for name in unable)


def test_auto_chooses_one_that_translates() -> None:
    found = Recognisers("auto", automatic=("large-v3-turbo", "small"))
    assert found.resolve("auto", task="translate").name == "small"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([" d", "'avoir", " dit"], ["d'avoir", "dit"]),
        ([" 50", "%", " of"], ["50%", "of"]),
        ([" well", "-known."], ["well-known."]),
        ([" 3.", "5"], ["3.5"]),
        ([" one—", "two"], ["one—", "two"]),
        ([" say", "你", "好"], ["say", "你", "好"]),
        (["one"], ["one"]),
        ([], []),
    ],
)
def test_what_is_spelled_without_a_space_is_one_word(parts: list[str], expected: list[str]) -> None:
    found = whole(
        [
            TimedText(
                word=word,
                tokens=[Token(i, b"", 0.0)],
                start=float(i),
                end=i + 1.0,
                probability=0.25 + i / 2,
            )
            for i, word in enumerate(parts)
        ]
    )
    assert [part["word"].strip() for part in found] == expected
    assert [token.id for part in found for token in part["tokens"]] == list(range(len(parts)))
    if len(parts) == 2 and len(found) == 1:
        assert (found[0]["start"], found[0]["end"], found[0]["probability"]) == (0.0, 2.0, 0.5)


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


def test_text_that_is_longer_than_the_decoder_may_write_is_heard_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # In int8, some processors hear other words.
    engine = WhisperRecogniser(str(WHISPER), compute_type="float32")
    engine.load()
    spoken = list({clip.text: clip for clip in clips("en")}.values())[:6]
    samples = np.concatenate([clip.samples for clip in spoken])[: 30 * SAMPLE_RATE]
    (untroubled,) = hear(engine, [samples], ENGLISH)
    words = words_of(untroubled)
    monkeypatch.setattr(whisper_decoding, "_MAX_TEXT", len(words) // 2)

    async def recognise(chunk: Chunk, options: TranscribeOptions) -> Recognition:
        return hear(engine, [chunk.samples], options)[0]

    (stopped,) = hear(engine, [samples], ENGLISH)
    assert len(words_of(stopped)) < len(words)
    voiced = ((words[0].start, words[-1].end),)
    found = asyncio.run(unheard.hear(Chunk(samples, 0.0, voiced), ENGLISH, recognise))
    assert text_of(found.recognition).split()[-3:] == text_of(untroubled).split()[-3:]
    assert len(words_of(found.recognition)) >= 0.8 * len(words)
