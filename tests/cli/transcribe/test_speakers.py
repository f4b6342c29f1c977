"""``transcribe`` with speakers: told apart, counted and named, here and by a server."""

from __future__ import annotations

import json
import re
import wave
from itertools import pairwise
from pathlib import Path

import pytest

from reflector_gpu.cli.output_formats import OutputFormat
from tests.cli.conftest import Typed
from tests.cli.transcribe.places import LOCAL, comparable
from tests.conftest import SAMPLES
from tests.live import KEY, LiveServer

MEETING = SAMPLES / "standup.ogg"


def test_a_bad_count_of_speakers_is_refused(typed: Typed, clip: Path) -> None:
    done = typed("transcribe", clip, "--min-speakers", 3, "--max-speakers", 2, *LOCAL)
    assert (done.status, done.out) == (2, "")
    assert "min_speakers" in done.err


@pytest.mark.parametrize("form", OutputFormat)
@pytest.mark.slow
def test_every_format_says_who_speaks(
    form: OutputFormat, typed: Typed, scripted: LiveServer
) -> None:
    there = ("--server", scripted.url, "--key", KEY)
    here = typed("transcribe", MEETING, "--diarize", "--format", form, *LOCAL).out
    away = typed("transcribe", MEETING, "--diarize", "--format", form, *there).out
    if form in (OutputFormat.JSON, OutputFormat.VERBOSE_JSON):
        answer, answered = json.loads(comparable(here)), json.loads(comparable(away))
        spoken = [*answer["words"], *answer.get("segments", ())]
        assert {one["speaker"] for one in spoken} == {"A", "B", "C"}
        # The length that a file's header tells may be off by a little.
        assert {**answered, "duration": None} == {**answer, "duration": None}
    else:
        for speaker in "ABC":
            assert re.search(rf"(^|\n|<v |  ){speaker}(>|: |   )", here)
        assert comparable(away) == comparable(here)


@pytest.mark.parametrize("where", [pytest.param("here", marks=pytest.mark.slow), "server"])
def test_diarize_tells_who_says_what(where: str, typed: Typed, scripted: LiveServer) -> None:
    there = ("--server", scripted.url, "--key", KEY) if where == "server" else LOCAL
    done = typed("transcribe", MEETING, "--diarize", *there)
    turns = [line.partition(": ") for line in done.out.splitlines()]
    assert list(dict.fromkeys(speaker for speaker, _, _ in turns)) == ["A", "B", "C"]
    assert all(text for _, _, text in turns)
    assert all(one[0] != other[0] for one, other in pairwise(turns))


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--speakers", "--max-speakers"])
@pytest.mark.parametrize("where", ["here", "server"])
def test_a_count_of_speakers_asks_for_them(
    where: str, option: str, typed: Typed, scripted: LiveServer
) -> None:
    there = ("--server", scripted.url, "--key", KEY) if where == "server" else LOCAL
    done = typed("transcribe", MEETING, option, 2, *there)
    assert {line.partition(": ")[0] for line in done.out.splitlines()} == {"A", "B"}


@pytest.mark.slow
@pytest.mark.parametrize("where", ["here", "server"])
def test_speakers_whose_voices_are_known_have_names(
    where: str, typed: Typed, scripted: LiveServer, tmp_path: Path
) -> None:
    with wave.open(str(MEETING.with_suffix(".wav"))) as whole:
        whole.setpos(15 * whole.getframerate())
        heard = whole.readframes(3 * whole.getframerate())
        with wave.open(str(tmp_path / "anna.wav"), "wb") as part:
            part.setparams(whole.getparams())
            part.writeframes(heard)
    there = ("--server", scripted.url, "--key", KEY) if where == "server" else LOCAL
    done = typed("transcribe", MEETING, "--speaker", f"Anna={tmp_path / 'anna.wav'}", *there)
    speakers = [line.partition(": ")[0] for line in done.out.splitlines()]
    assert list(dict.fromkeys(speakers)) == ["Anna", "A", "B"]


@pytest.mark.parametrize(
    ("speaker", "told"),
    [("Anna", "NAME=FILE"), ("=a.wav", "NAME=FILE"), ("Anna=nowhere.wav", "cannot be read")],
)
def test_a_speaker_without_a_voice(speaker: str, told: str, typed: Typed, clip: Path) -> None:
    done = typed("transcribe", clip, "--speaker", speaker, *LOCAL)
    assert done.status == 2
    assert done.out == ""
    assert told in done.err


@pytest.mark.slow
def test_a_table_of_words_says_whose_they_are(typed: Typed, scripted: LiveServer) -> None:
    there = ("--server", scripted.url, "--key", KEY)
    here = typed("transcribe", MEETING, "--diarize", "--format", "words", *LOCAL)
    heading, *rows = here.out.splitlines()
    assert heading.split() == ["start", "end", "who", "word"]
    assert {row.split()[2] for row in rows} == {"A", "B", "C"}
    assert typed("transcribe", MEETING, "--diarize", "-f", "words", *there).out == here.out
