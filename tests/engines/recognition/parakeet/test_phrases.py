"""Phrases to expect: they help where a word is misheard, and are heard nowhere else."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.engines.recognition.parakeet import ctc, tdt
from reflector_gpu.engines.recognition.parakeet.onnx import ParakeetRecogniser
from reflector_gpu.engines.recognition.parakeet.phrases import boosts, spelling
from reflector_gpu.types import Recognition, Samples, TranscribeOptions
from tests.engines.noise import misheard
from tests.engines.sounds import STEADY
from tests.engines.tiny import PARAKEET, Clip, clips, text_of, words_of
from tests.live import LiveServer


@dataclass(frozen=True)
class Misheard:
    """A recording under so much noise that something else is ``heard``, without the ``hotword``."""

    recording: str
    said: str
    noise: float
    seed: int
    heard: str
    hotword: str

    @property
    def samples(self) -> Samples:
        return misheard(self.recording, self.noise, self.seed)


FRIDAY = Misheard(
    "en_awb_project_deadline_friday",
    "project deadline friday",
    10.0,
    2,
    "project deadline one",
    "project deadline friday",
)
SUMMARY = Misheard(
    "en_kal16_please_share_project_summary",
    "please share project summary",
    8.0,
    2,
    "please share project today",
    "please share project summary",
)
MISHEARD = [
    FRIDAY,
    SUMMARY,
    Misheard(
        "en_rms_hello_agenda_question",
        "hello agenda question",
        8.0,
        1,
        "hello seven question",
        "agenda",
    ),
    Misheard("en_kal16_thanks_team", "thanks team", 10.0, 3, "client team", "thanks"),
]

ABSENT = ("kubernetes", "decision", "two", "client meeting", "naïve", "Ωmega", "日本", "four")


@pytest.fixture(scope="module")
def engine() -> ParakeetRecogniser:
    engine = ParakeetRecogniser(str(PARAKEET))
    engine.load()
    return engine


def hear(engine: ParakeetRecogniser, batch: Sequence[Samples], *hotwords: str) -> list[Recognition]:
    results = engine.transcribe(batch, TranscribeOptions(language="en", hotwords=hotwords))
    found = [result for result in results if isinstance(result, Recognition)]
    assert len(found) == len(batch)
    return found


@pytest.mark.parametrize("case", MISHEARD, ids=lambda case: case.hotword)
def test_a_misheard_word_is_heard_right_once_it_is_expected(
    engine: ParakeetRecogniser, case: Misheard
) -> None:
    assert text_of(hear(engine, [case.samples])[0]) == case.heard
    (found,) = hear(engine, [case.samples], case.hotword)
    assert text_of(found) == case.said
    assert all(token.logprob <= 0 for word in words_of(found) for token in word.tokens)


def test_the_case_and_the_spaces_of_a_phrase_do_not_matter(engine: ParakeetRecogniser) -> None:
    for form in (
        "Project Deadline Friday",
        "PROJECT DEADLINE FRIDAY",
        " project  deadline friday ",
    ):
        assert text_of(hear(engine, [FRIDAY.samples], form)[0]) == FRIDAY.said


def test_a_batch_is_heard_as_its_chunks_alone(engine: ParakeetRecogniser) -> None:
    batch = [case.samples for case in MISHEARD]
    words = [case.hotword for case in MISHEARD]
    together = hear(engine, batch, *words)
    alone = [hear(engine, [samples], *words)[0] for samples in batch]
    # Some processors round sums of a batch differently, which probabilities show.
    for one, other in zip(map(words_of, together), map(words_of, alone), strict=True):
        assert [(w.text, w.start, w.end) for w in one] == [(w.text, w.start, w.end) for w in other]
        chances = [word.probability for word in other]
        assert [word.probability for word in one] == pytest.approx(chances, abs=1e-3)


@pytest.mark.slow
def test_what_nobody_says_is_not_invented(engine: ParakeetRecogniser) -> None:
    spoken = clips("en")
    batch = [clip.samples for clip in spoken]
    plain = hear(engine, batch)
    every = sorted({word.text for clip in spoken for word in clip.words})
    for word in (*every, " ".join(every[:3])):
        assert hear(engine, batch, word) == plain
    assert hear(engine, batch, *ABSENT) == plain
    assert hear(engine, batch, *every) == plain


@pytest.mark.slow
def test_nothing_is_heard_in_silence(engine: ParakeetRecogniser) -> None:
    for result in hear(engine, list(STEADY.values()), "hello team", "budget", "one"):
        assert text_of(result) == ""


@pytest.mark.slow
def test_a_server_takes_the_same_field_as_for_whisper() -> None:
    samples = misheard(SUMMARY.recording, 10.0, 4)
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes((samples.clip(-1, 1) * 32767).astype(np.int16).tobytes())
    folders = {"tiny": str(PARAKEET)}
    with LiveServer(model_paths=folders, model="tiny", apikey="test-key", workers=1) as server:
        heard = [
            server.openai()
            .audio.transcriptions.create(
                file=("a.wav", file.getvalue()), model="tiny", extra_body=fields
            )
            .text
            for fields in ({}, {"hotwords": "please,share,project,summary"})
        ]
    assert heard == ["review project summary", SUMMARY.said]


NUMBERS = {
    line.rpartition(" ")[0].replace("\u2581", " "): number
    for number, line in enumerate((PARAKEET / "vocab.txt").read_text().splitlines())
}


@pytest.mark.parametrize("clip", clips("en"), ids=lambda clip: clip.path.stem)
def test_words_are_spelt_as_the_model_writes_them(engine: ParakeetRecogniser, clip: Clip) -> None:
    for word in words_of(hear(engine, [clip.samples])[0]):
        assert spelling(word.text, NUMBERS) == [token.id for token in word.tokens]


def test_what_the_vocabulary_cannot_spell_is_left_out() -> None:
    assert spelling("日本", NUMBERS) is None
    assert boosts(["日本"], list(NUMBERS), 0) is None
    assert boosts([], list(NUMBERS), 0) is None


LETTERS, BLANK = " a| b|a|b".split("|"), 4
PIECES = [*LETTERS, "<blk>"]


@given(
    phrases=st.lists(st.text("ab ", min_size=1, max_size=6), max_size=4),
    tokens=st.lists(st.integers(0, 3), max_size=12),
)
def test_each_piece_is_raised_by_the_longest_phrase_that_it_goes_on_with(
    phrases: list[str], tokens: list[int]
) -> None:
    numbers = {text: number for number, text in enumerate(LETTERS)}
    spelt = [spelling(phrase, numbers) or [] for phrase in phrases]
    beginnings = {tuple(pieces[:end]) for pieces in spelt for end in range(1, 1 + len(pieces))}
    table = boosts(phrases, PIECES, BLANK)
    if table is None:
        assert not beginnings
        return
    node = np.zeros(1, np.int64)
    for place, token in enumerate(tokens):
        raised = dict(zip(table.columns.tolist(), table.raised[node[0]].tolist(), strict=True))
        for piece in range(4):
            said = (*tokens[:place], piece)
            depth = max((d for d in range(1, 1 + len(said)) if said[-d:] in beginnings), default=0)
            expected = 0.0 if not depth else 1.0 if depth == 1 else 2.0 + np.log(depth)
            assert raised.get(piece, 0.0) == pytest.approx(expected)
        node = table.after(node, np.array([token]))


def test_so_many_phrases_that_their_tables_would_be_huge_are_cut() -> None:
    rng = np.random.default_rng(0)
    many = ["".join(rng.choice(list("abdeilmnorst"), 12)) for _ in range(2000)]
    table = boosts(many, list(NUMBERS), 0)
    assert table is not None
    assert len(table.following) <= 2000
    assert table.raised.nbytes + table.following.nbytes < 30e6


def test_ctc_writes_an_expected_piece_instead_of_a_likelier_one() -> None:
    """And keeps blanks, repetitions and what lies clearly further away."""
    logits = np.full((2, 6, 5), -9.0, np.float32)
    for frame, token in enumerate([4, 0, 0, 4, 3, 4]):  # " a" twice, then "b"
        logits[:, frame, token] = 0.0
    logits[:, 1:3, 1] = -0.9  # " b" is nearly as likely as " a"
    logits[:, 4, 2] = -1.5  # and "a" as "b"
    lengths = np.array([6, 4])
    plain = [one.tokens.tolist() for one in ctc.greedy(logits, lengths, BLANK)]
    assert plain == [[0, 3], [0]]
    expected = boosts(["ba"], PIECES, BLANK)
    found = ctc.greedy(logits, lengths, BLANK, expected)
    assert [one.tokens.tolist() for one in found] == [[1, 2], [1]]
    assert found[0].frames.tolist() == [1, 4]
    assert ctc.greedy(logits, lengths, BLANK, boosts(["bb"], PIECES, BLANK))[0].tokens[0] == 1


def test_a_logprob_is_the_networks_own() -> None:
    def joint(
        frames: tdt.Floats, last: tdt.Ints, states: tdt.States
    ) -> tuple[tdt.Floats, tdt.States]:
        logits = np.array([[1.0, 0.5, -3.0, -3.0, 0.0, -9.0, 9.0]], np.float32)
        return logits.repeat(len(last), 0), states

    zeros = np.zeros((1, 1, 2), np.float32)
    (one,) = tdt.greedy(
        np.zeros((1, 1, 2), np.float32),
        np.array([1]),
        joint,
        (zeros, zeros),
        vocabulary=5,
        blank=BLANK,
        max_symbols=3,
        boosts=boosts(["b"], PIECES, BLANK),
    )
    assert one.tokens.tolist() == [1]
    logits = np.array([1.0, 0.5, -3.0, -3.0, 0.0])
    assert one.logprobs[0] == pytest.approx(0.5 - np.log(np.exp(logits).sum()))
