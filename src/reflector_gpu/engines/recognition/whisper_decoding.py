"""Whisper's decoding of a batch: encode, detect languages, generate, align, and check the result.

A batch takes one `encode`, one `generate`, and one `align` for each language, whatever requests its
chunks are from. Thresholds are those of openai/whisper (`transcribe.py`) unless a comment differs.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from reflector_gpu.engines.recognition.hallucination import (
    Guard,
    without_ending_loop,
    without_guesses,
    without_impossible_loops,
)
from reflector_gpu.engines.recognition.sound import beside_sound, fitted_to_sound, spoken
from reflector_gpu.engines.recognition.whisper_alignment import aligned
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

TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Tried one after the other while a row looks wrong, beginning with the client's."""

LIVE_TEMPERATURES = (0.0, 0.4)
"""The same for live audio. A text that loops takes seconds at each of them, because it goes on to
the decoder's limit, and meanwhile nobody gets words."""

MAX_COMPRESSION_RATIO = 2.4  # above: the text repeats itself
MIN_AVG_LOGPROB = -1.0  # below: the model guesses

NOBODY_SPOKE = ((0.6, -1.0), (0.9, -0.5))
"""Nobody spoke if no_speech_prob is above, and avg_logprob below, the values of one pair.

The first pair is openai/whisper's. The second is for music: a model that is almost sure of silence
must also be quite sure of its words.
"""

_BEAM = 5
_BEST_OF = 5
_CONTEXT = 448  # tokens that the decoder reads
_MAX_TEXT = _CONTEXT // 2  # tokens of text, as in openai/whisper; CTranslate2 takes no more
_MAX_PROMPT = _CONTEXT // 2 - 1  # tokens of hotwords and prompt

_WHOLE = 3000  # frames of the encoder's window, 100 a second
_LIVE_SILENCE = 500
"""Frames of silence behind live audio, in place of a whole window.

With base on two cores, 5 s of audio take 0.24 s instead of 1.2. Files lose 0.2 points by it.
"""

_TOKENS_PER_SECOND = 50
"""The most tokens for a second of audio. Without it, a row that loops would delay its batch.

English takes 4, Hindi 17, Malayalam 40 and Burmese 50: their letters are several tokens each.
"""

_CUT_CHARACTER = "\N{REPLACEMENT CHARACTER}"
"""Ends a word if the decoder was stopped between two tokens of its last letter."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A text for one chunk. ``ended`` means that the decoder finished, and was not stopped."""

    tokens: tuple[int, ...]
    scores: SegmentScores
    ended: bool

    @property
    def repetitive(self) -> bool:
        return self.scores.compression_ratio > MAX_COMPRESSION_RATIO

    @property
    def silent(self) -> bool:
        return any(
            self.scores.no_speech_prob > no_speech and self.scores.avg_logprob < logprob
            for no_speech, logprob in NOBODY_SPOKE
        )

    def good(self, voiced: bool) -> bool:
        """Whether it need not be tried again. Silence is doubtful if a voice was detected."""
        if self.silent:
            return not voiced
        return not (self.repetitive or self.scores.avg_logprob < MIN_AVG_LOGPROB)

    def better(self, known: Hypothesis | None, voiced: bool) -> Hypothesis:
        """Ranks texts: good ones, then those that do not repeat themselves, then likelier ones."""
        if known is None or (self.good(voiced) and (self.tokens or not known.tokens)):
            return self
        return max(known, self, key=lambda one: (not one.repetitive, one.scores.avg_logprob))


class Decoder:
    """Decodes batches with one loaded model. CTranslate2's errors pass through."""

    def __init__(self, model: WhisperModel) -> None:
        self._model = model

    def recognise(self, batch: Sequence[Samples], options: TranscribeOptions) -> list[Recognition]:
        """One result for each of ``batch``, each of which holds 1 sample to 30 seconds."""
        encoded = self._encode(batch, _heard_frames(batch) if options.live else _WHOLE)
        detected = self._languages(encoded, len(batch), options)
        languages = [language for language, _ in detected]
        hypotheses = self._generate(encoded, batch, languages, options)
        written = [row for row, one in enumerate(hypotheses) if one.tokens and not one.silent]
        segments: dict[int, tuple[Segment, ...]] = {}
        for language in sorted({languages[row] for row in written}):
            rows = [row for row in written if languages[row] == language]
            found = self._spelled(
                _rows(encoded, rows, len(batch)),
                self._tokenizer(language, options.task),
                [hypotheses[row] for row in rows],
                [batch[row] for row in rows],
            )
            for row, words in zip(rows, found, strict=True):
                if words:
                    segments[row] = (Segment.of(words, hypotheses[row].scores),)
        return [
            Recognition(segments.get(row, ()), language, certainty)
            for row, (language, certainty) in enumerate(detected)
        ]

    def _encode(self, batch: Sequence[Samples], frames: int) -> ctranslate2.StorageView:
        """What the encoder hears in ``batch``, with silence behind it to make up ``frames``."""
        from faster_whisper.audio import pad_or_trim

        extractor = self._model.feature_extractor
        features = [pad_or_trim(extractor(samples)[..., :-1], frames) for samples in batch]
        return self._model.encode(np.stack(features))

    def _languages(
        self, encoded: ctranslate2.StorageView, count: int, options: TranscribeOptions
    ) -> list[tuple[str, float]]:
        """The likeliest of the languages that the client expects, for each row, and its probability
        among these."""
        if not self._model.model.is_multilingual:
            return [("en", 1.0)] * count
        if options.language:
            return [(options.language, 1.0)] * count
        found = []
        for ranking in self._model.model.detect_language(encoded):
            ranked = [(token.strip("<|>"), float(probability)) for token, probability in ranking]
            expected = [one for one in ranked if one[0] in options.languages] or ranked
            language, probability = expected[0]
            among = sum(probability for _, probability in expected)
            found.append((language, probability / among if among else 0.0))
        return found

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
    ) -> list[Hypothesis]:
        """The best text of each row.

        Rows that look wrong are tried again at higher temperatures, and then without the prompt,
        because a prompt makes many rows empty or doubtful.
        """
        best: list[Hypothesis | None] = [None] * len(batch)
        open_rows = list(range(len(batch)))
        bare = replace(options, prompt=None, hotwords=())
        for told in (options, bare) if bare != options else (options,):
            prompts = [self._prompt(language, told) for language in languages]
            self._climb(encoded, batch, prompts, open_rows, best, options)
            open_rows = [
                row
                for row, one in enumerate(best)
                if one is not None and not (one.tokens and one.good(options.voiced))
            ]
        return [one for one in best if one is not None]

    def _climb(
        self,
        encoded: ctranslate2.StorageView,
        batch: Sequence[Samples],
        prompts: Sequence[list[int]],
        rows: Sequence[int],
        best: list[Hypothesis | None],
        options: TranscribeOptions,
    ) -> None:
        """Try ``rows`` at one temperature after the other while they look wrong.

        Of live audio, only what repeats itself is tried again.
        """
        open_rows = list(rows)
        first = options.temperature or 0.0
        temperatures = LIVE_TEMPERATURES if options.live else TEMPERATURES
        for temperature in (first, *(higher for higher in temperatures if higher > first)):
            if not open_rows:
                break
            longest = max(len(batch[row]) for row in open_rows) / SAMPLE_RATE
            tried = self._try(
                _rows(encoded, open_rows, len(batch)),
                [prompts[row] for row in open_rows],
                longest,
                temperature,
            )
            for row, hypothesis in zip(open_rows, tried, strict=True):
                best[row] = hypothesis.better(best[row], options.voiced)
            open_rows = [
                row
                for row, one in zip(open_rows, tried, strict=True)
                if not one.good(options.voiced) and (one.repetitive or not options.live)
            ]

    def _try(
        self,
        encoded: ctranslate2.StorageView,
        prompts: list[list[int]],
        seconds: float,
        temperature: float,
    ) -> list[Hypothesis]:
        from faster_whisper.transcribe import get_suppressed_tokens

        tokenizer = self._tokenizer("en", "transcribe")
        room = min(16 + int(seconds * _TOKENS_PER_SECOND), _MAX_TEXT)
        # CTranslate2 writes half of this at most, and no more than the prompt leaves.
        max_length = min(_CONTEXT, max(2 * room, len(prompts[0]) + room))
        room = min(max_length // 2, max_length - len(prompts[0]) + 1)
        sampling = {"beam_size": 1, "num_hypotheses": _BEST_OF, "sampling_topk": 0}
        results = self._model.model.generate(
            encoded,
            prompts,
            max_length=max_length,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=list(get_suppressed_tokens(tokenizer, [-1])),
            sampling_temperature=temperature,
            **(sampling if temperature else {"beam_size": _BEAM}),
        )
        return [_hypothesis(tokenizer, result, temperature, room) for result in results]

    def _prompt(self, language: str, options: TranscribeOptions) -> list[int]:
        """The hotwords and the end of the client's prompt, within one limit, and then the task."""
        tokenizer = self._tokenizer(language, options.task)
        hotwords = tokenizer.encode(f" {', '.join(options.hotwords)}") if options.hotwords else []
        hotwords = hotwords[: _MAX_PROMPT // 2]
        previous = tokenizer.encode(f" {options.prompt.strip()}") if options.prompt else []
        context = [*hotwords, *previous[len(previous) + len(hotwords) - _MAX_PROMPT :]]
        start = [tokenizer.sot_prev, *context] if context else []
        return [*start, *tokenizer.sot_sequence, tokenizer.no_timestamps]

    def _spelled(
        self,
        encoded: ctranslate2.StorageView,
        tokenizer: Tokenizer,
        hypotheses: Sequence[Hypothesis],
        batch: Sequence[Samples],
    ) -> list[list[Word]]:
        """The words of each row that were spoken, with their times."""
        written = [one.tokens for one in hypotheses]
        found = aligned(self._model, tokenizer, encoded, written, batch)
        for row, (hypothesis, samples) in enumerate(zip(hypotheses, batch, strict=True)):
            words = found[row]
            if not hypothesis.ended:
                words = _kept(words, without_ending_loop, samples)
                if words and _CUT_CHARACTER in words[-1].text:
                    words.pop()
            words = _kept(words, without_impossible_loops, samples)
            words = beside_sound(words, spoken(words, samples))
            words = _kept(words, without_guesses, samples)
            found[row] = fitted_to_sound(words, samples)
        return found


def _heard_frames(batch: Sequence[Samples]) -> int:
    """The frames that are enough to hear live audio."""
    return min(_WHOLE, max(map(len, batch)) * 100 // SAMPLE_RATE + _LIVE_SILENCE)


def _hypothesis(
    tokenizer: Tokenizer,
    result: ctranslate2.models.WhisperGenerationResult,
    temperature: float,
    room: int,
) -> Hypothesis:
    sequence = result.sequences_ids[0]
    tokens = tuple(token for token in sequence if token < tokenizer.eot)
    text = tokenizer.decode(list(tokens)).strip().encode()
    scores = SegmentScores(
        # The score is the mean over the tokens. openai/whisper's mean counts the end, too.
        avg_logprob=float(result.scores[0]) * len(sequence) / (len(sequence) + 1),
        compression_ratio=len(text) / len(zlib.compress(text)),
        no_speech_prob=float(result.no_speech_prob),
        temperature=temperature,
    )
    return Hypothesis(tokens if text else (), scores, ended=len(sequence) < room)


def _kept(words: list[Word], guard: Guard, samples: Samples) -> list[Word]:
    return list(compress(words, guard(fitted_to_sound(words, samples))))


def _rows(
    encoded: ctranslate2.StorageView, rows: Sequence[int], count: int
) -> ctranslate2.StorageView:
    """Some rows of an encoder output, ``[count, frames, d]``."""
    if len(rows) == count:
        return encoded
    import ctranslate2

    array = np.asarray(encoded.to_device(ctranslate2.Device.cpu))
    return ctranslate2.StorageView.from_array(np.ascontiguousarray(array[list(rows)]))
