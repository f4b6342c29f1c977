"""What `make demo` and `make serve` say, and the recordings that they show."""

from __future__ import annotations

import json
import subprocess
import sys

import av
import pytest

from reflector_gpu.cli.listen import listen
from samples.demo import lines
from samples.weights import AS_SET, pull
from tests.cli.program import environment
from tests.conftest import ROOT, SAMPLES
from tests.waiting import PROGRAM_SECONDS


def serve(port: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "samples.serve", *arguments],
        cwd=ROOT,
        env={**environment(MODEL="scripted"), "PORT": port},
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
    )


@pytest.mark.slow
@pytest.mark.parametrize("port", ["abc", "-1", "65536", "8000x"])
def test_a_wrong_port_is_told_in_one_line(port: str) -> None:
    done = serve(port)
    assert done.returncode == 1
    assert done.stderr == (
        f"PORT={port} is no port: it is a number up to 65535, or 0 for a free one.\n"
    )


def test_without_any_source_another_model_goes_on_and_it_is_said() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from samples.weights import AS_SET, pull; print(pull())"],
        cwd=ROOT,
        env=environment(WEIGHTS_SOURCES="file:///nonesuch"),
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
    )
    assert (done.returncode, done.stdout) == (
        0,
        "inside its package, as those of base are not to be had\n",
    )
    asked, _, going_on, again, *_ = done.stderr.splitlines()
    assert asked == "Asking a mirror for the weights of base ..."
    assert going_on.startswith("Going on with sphinx (PocketSphinx")
    assert again.endswith("models pull base")


@pytest.mark.parametrize("model", ["scripted", "nonesuch"])
def test_who_has_chosen_a_model_gets_no_other(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLECTOR_MODEL", model)
    assert pull() == AS_SET


@pytest.mark.parametrize("name", ["jfk.flac", "memoirs.flac", "standup.mp3"])
def test_a_recording_has_a_reference_that_fits_it(name: str) -> None:
    reference = json.loads((SAMPLES / name).with_suffix(".json").read_text())
    with av.open(SAMPLES / name) as recording:
        assert (recording.duration or 0) / 1e6 == pytest.approx(reference["duration"], abs=0.1)
    assert reference["text"]


def test_lines_are_of_one_speaker_and_fit_a_terminal() -> None:
    said = [
        {"word": f" {word}", "start": float(number), "speaker": "AB"[number >= 20]}
        for number, word in enumerate(["words"] * 30)
    ]
    shown = [line.plain for line in lines(said)]
    assert [line.split()[0] for line in shown] == ["0.00", "11.00", "20.00"]
    assert [line.split()[1] for line in shown] == ["A", "words", "B"]
    assert all(len(line) <= 80 for line in shown)
    assert sum(line.count("words") for line in shown) == 30


def test_help_starts_no_server() -> None:
    done = serve("0", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: python -m samples.serve")
    assert done.stderr == ""


def test_a_port_that_is_taken_is_told_in_one_line_with_advice_for_make() -> None:
    with listen("127.0.0.1", 0) as taken:
        done = serve(str(taken.getsockname()[1]))
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "another program listens there. Choose another port: make serve PORT=" in line
    assert "--port" not in line
