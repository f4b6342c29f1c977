"""The accuracy benchmark: what it measures with, and how it counts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from benchmarks import accuracy, audio, command, noises, recordings, systems, word_times
from benchmarks.audio import SPEECH
from benchmarks.recordings import JOININGS, Clip, Joining
from benchmarks.systems import Batched, Direct, Service, Word
from reflector_gpu.types import SAMPLE_RATE

WEIGHTS = SPEECH.parent / "whisper-tiny"


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    """Three English ones that say different things."""
    entries = json.loads((SPEECH / "speech.json").read_text())
    english = {e["text"]: name for name, e in entries.items() if e["language"] == "en"}
    return [
        Clip(name, "books", "en", text, (SPEECH / name).read_bytes())
        for text, name in list(english.items())[:3]
    ]


@pytest.fixture
def folder(tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two clips and a meeting, as a folder of recordings has them."""
    real = tmp_path / "real"
    real.mkdir()
    for name, clip in zip(("libri_1.wav", "cv_de_1.wav", "../trn03.wav"), clips, strict=True):
        (real / name).write_bytes(clip.audio)
    head = "file\tlanguage\ttext\tseconds\n"
    (real / "references.tsv").write_text(
        f"{head}libri_1.wav\ten\tOne.\t1\ncv_de_1.wav\tde\tZwei.\t1\n"
    )
    (real / "references_meetings.tsv").write_text(f"{head}../trn03.wav\ten\tThree.\t1\n")
    monkeypatch.setenv(recordings.VARIABLE, str(tmp_path))
    return tmp_path


def test_recordings_are_those_of_both_lists(folder: Path) -> None:
    assert recordings.folder() == folder
    assert [
        (clip.name, clip.kind, clip.language, clip.text) for clip in recordings.clips(folder)
    ] == [
        ("libri_1.wav", "books", "en", "One."),
        ("cv_de_1.wav", "sentences", "de", "Zwei."),
        ("trn03.wav", "meetings", "en", "Three."),
    ]


def test_a_phone_call_is_read_from_its_turns(folder: Path, clips: list[Clip]) -> None:
    (folder / "meetings").mkdir()
    (folder / "meetings" / "phone_call.wav").write_bytes(clips[0].audio)
    (folder / "meetings" / "phone_call.stm").write_text(
        "call 1 Ann 0.5 1 Hello?\ncall 1 Bob 1 2.5 Oh, hello you.\n"
    )
    call = recordings.clips(folder)[-1]
    assert (call.kind, call.text) == ("phone, conference", "Hello? Oh, hello you.")


def test_a_meeting_is_heard_from_its_first_utterance_on(folder: Path, clips: list[Clip]) -> None:
    """Who speaks before it is in no reference."""
    (folder / "real" / "ami_trn03.stm").write_text(
        "trn03 1 Ann 1.0 2.5 Three.\ntrn03 1 Bob 0.75 2 Yes.\n"
    )
    meeting = recordings.clips(folder)[-1]
    assert meeting.begin == 0.25
    assert np.array_equal(
        audio.heard(meeting.audio), audio.heard(clips[2].audio)[SAMPLE_RATE // 4 :]
    )


@pytest.mark.parametrize("named", ["", "/nowhere"])
def test_without_recordings_it_says_what_it_wants(
    named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(recordings.VARIABLE, named)
    assert accuracy.real(recordings.QUICK) == []
    said = capsys.readouterr().err
    assert recordings.VARIABLE in said
    assert "real/references.tsv" in said


@pytest.mark.parametrize("how", JOININGS, ids=lambda how: how.name)
def test_a_joined_recording_is_the_same_every_time(how: Joining, clips: list[Clip]) -> None:
    one, again = (recordings.joined(clips, how, 20, seed=1) for _ in range(2))
    assert one == again
    assert one.audio != recordings.joined(clips, how, 20, seed=2).audio


def test_a_joined_recording_is_as_long_as_asked_and_says_all_that_is_in_it(
    clips: list[Clip],
) -> None:
    whole = recordings.joined(clips, Joining("none", (0, 0), None), 30, seed=1)
    parts = {clip.text: len(audio.heard(clip.audio)) for clip in clips}
    said = sum(whole.text.count(text) * length for text, length in parts.items())
    assert said == len(audio.heard(whole.audio)) >= 30 * SAMPLE_RATE


def test_noise_is_as_far_below_speech_as_asked(clips: list[Clip]) -> None:
    quiet, noisy = (
        audio.heard(recordings.joined(clips, Joining("", (0, 0), level), 20, seed=1).audio)
        for level in (None, 10.0)
    )
    speech, noise = np.std(quiet), np.std(noisy - quiet)
    assert 20 * np.log10(speech / noise) == pytest.approx(10, abs=0.5)


def test_between_clips_there_are_pauses(clips: list[Clip]) -> None:
    silent = Joining("", (2.0, 2.0), None)
    samples = audio.heard(recordings.joined(clips, silent, 20, seed=1).audio)
    assert np.all(samples[-2 * SAMPLE_RATE :] == 0)


CTM = "trn A 0.50 0.25 Hello\ntrn B 0.25 0.25 Oh\n"
TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

0
3
<exists>
2
"IntervalTier"
"phones"
0
3
1
0
3
"sil"
"IntervalTier"
"words"
0
3
3
0
0.25
""
0.25
0.5
"Oh"
0.5
0.75
"Hello"
"""
SENSE = json.dumps(
    {
        "w": [
            {"b": 0, "d": 0.25, "t": "<sil>"},
            {"b": 0.25, "d": 0.25, "t": "Oh(2)"},
            {"b": 0.5, "d": 0.25, "t": "Hello"},
        ]
    }
)


@pytest.mark.parametrize(
    ("name", "text"), [("ami_trn.ctm", CTM), ("trn.TextGrid", TEXTGRID), ("trn.json", SENSE)]
)
def test_an_alignment_of_each_format_is_read(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert word_times.alignment(tmp_path / "trn.wav") == [
        Word("Oh", 0.25, 0.5),
        Word("Hello", 0.5, 0.75),
    ]


def test_a_recording_without_an_alignment(tmp_path: Path) -> None:
    assert word_times.alignment(tmp_path / "trn.wav") == []


def test_only_words_that_were_heard_have_times_to_compare() -> None:
    spoken = [Word("Oh", 0, 1), Word("hello", 1, 2), Word("you", 2, 3)]
    heard = [Word("Hello,", 1.25, 2.5), Word("two", 2, 3)]
    assert word_times.errors(spoken, heard) == word_times.Errors((0.25,), (0.5,), 3)


def test_errors_of_several_recordings_are_added() -> None:
    one = word_times.Errors((0.25,), (0.5,), 3)
    assert one + one == word_times.Errors((0.25, 0.25), (0.5, 0.5), 6)


@pytest.mark.parametrize("kind", [Direct, Batched])
def test_what_faster_whisper_heard_is_remembered(
    kind: type[Direct], clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systems, "CACHE", tmp_path / "heard")
    first = kind(WEIGHTS)
    text, words = first.text(clips[0]), first.words(clips[0])
    assert len(words) == len(text.split()) > 1
    gone = kind(tmp_path / WEIGHTS.name)
    assert (gone.text(clips[0]), gone.words(clips[0])) == (text, words)
    with pytest.raises(Exception, match=WEIGHTS.name):  # another recording has to be heard
        gone.text(clips[1])


def test_what_the_service_heard_is_remembered_until_it_changes(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systems, "CACHE", tmp_path / "heard")
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"text": f"answer {len(asked)}"})

    def text(model: str, clip: Clip) -> str:
        with httpx.Client(transport=httpx.MockTransport(answer), base_url="http://it") as client:
            return Service(client, model).text(clip)

    assert [text("base", clips[0]), text("base", clips[0])] == ["answer 1", "answer 1"]
    assert text("base", clips[1]) == "answer 2"
    assert text("tiny.en", clips[0]) == "answer 3"
    monkeypatch.setenv("REFLECTOR_VAD_PADDING_SECONDS", "0.7")
    assert text("base", clips[0]) == "answer 4"
    monkeypatch.setattr(systems, "_code", lambda: "other code")
    assert text("base", clips[0]) == "answer 5"


def test_recordings_without_speech_are_the_same_every_time_and_no_two_alike() -> None:
    one, again = ([clip.audio for clip in noises.clips()] for _ in range(2))
    assert one == again
    assert len(set(one)) == len(noises.SOUNDS) == 15
    loudest = [float(np.abs(audio.heard(sound)).max()) for sound in one]
    assert [round(peak, 2) for peak in loudest] == [0.0] + 14 * [0.3]


def test_words_in_recordings_without_speech_are_told() -> None:
    real = pytest.importorskip("benchmarks.real_accuracy", reason="jiwer is not installed")
    from benchmarks.scores import Score

    def heard(name: str, system: str, text: str) -> object:
        clip = Clip(name, noises.KIND, "en", "", b"")
        return real.Heard("base", system, clip, text, Score(insertions=len(text.split())))

    quiet = [heard("wind", "service", ""), heard("siren", "service", "")]
    figure = real.invented("base", [*quiet, heard("wind", "direct", "you")])
    assert (figure.value, figure.met, figure.detail) == (0, True, "service 0, direct 1 of 2")
    figure = real.invented("base", [*quiet, heard("fan", "service", "Thank you.")])
    assert (figure.value, figure.met, figure.detail) == (
        1,
        False,
        "service 1 of 3; fan: Thank you.",
    )


def test_errors_of_words() -> None:
    scores = pytest.importorskip("benchmarks.scores", reason="jiwer is not installed")
    found = scores.score("en", "I’m here, Mister Fox, at 20.", "I am there, Mr. Fox at twenty now")
    assert found == scores.Score(words=7, substitutions=1, deletions=0, insertions=1)
    assert scores.score("hi", "नमस्ते दुनिया।", "नमस्ते दुनिया").errors == 0
    assert scores.score("zh", "他是，中国。", "他中國") == scores.Score(4, 1, 1, 0)
    assert scores.score("en", "", "you know") == scores.Score(0, 0, 0, 2)


def test_all_errors_count_over_all_words() -> None:
    scores = pytest.importorskip("benchmarks.scores", reason="jiwer is not installed")
    pooled = scores.pooled([scores.Score(90, 1, 2, 3), scores.Score(10, 1, 1, 2)])
    assert pooled == scores.Score(100, 2, 3, 5)
    assert pooled.percent == 10


def test_the_service_is_compared_with_the_better_of_the_two(clips: list[Clip]) -> None:
    real = pytest.importorskip("benchmarks.real_accuracy", reason="jiwer is not installed")
    from benchmarks.scores import Score

    heard = [
        real.Heard("base", system, clips[0], "", Score(1000, 0, deletions, 0))
        for system, deletions in (("service", 26), ("direct", 40), ("batched", 20))
    ]
    figure = real.comparison("base: short clips", heard)
    assert figure.value == pytest.approx(0.6)
    assert not figure.met
    assert "service 2.6 (0/26/0)" in figure.detail
    assert real.comparison("base: short clips", heard[:2]).met


def test_help_names_every_benchmark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--help"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "--quick" in said
    assert all(name in said for name in command.BENCHMARKS)


@pytest.mark.parametrize(
    ("arguments", "known"), [(["nothing"], "pipeline"), (["--quick", "start"], "accuracy")]
)
def test_a_benchmark_that_is_not_there(
    arguments: list[str], known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    with pytest.raises(SystemExit, match=f"No such .*{arguments[-1]}.*{known}"):
        command.main()
