"""Where ``transcribe`` writes to, and what it does not write over."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Typed
from tests.cli.program import run
from tests.cli.stub import Reply, StubServer, stream
from tests.cli.transcribe.places import LOCAL


@pytest.fixture
def instant() -> Iterator[tuple[str, ...]]:
    """Options for work that is done as soon as it is asked for."""
    with StubServer([Reply(stream())] * 3) as server:
        yield "--server", server.url


def test_several_inputs_as_json_are_lines(
    typed: Typed, clip: Path, instant: tuple[str, ...]
) -> None:
    lines = (
        typed("transcribe", clip, clip, "--format", "json", *instant)
        .out.removesuffix("\n")
        .split("\n")
    )
    assert [json.loads(line)["filename"] for line in lines] == ["clip.wav", "clip.wav"]


def test_several_inputs_fill_a_folder(
    typed: Typed, clip: Path, tmp_path: Path, instant: tuple[str, ...]
) -> None:
    second = shutil.copy(clip, tmp_path / "second.part.wav")
    folder = tmp_path / "out" / "srt"
    done = typed("transcribe", clip, second, "--format", "srt", "--output", folder, *instant)
    assert done == (0, "", "")
    assert sorted(path.name for path in folder.iterdir()) == ["clip.srt", "second.part.srt"]
    assert (folder / "clip.srt").read_text().startswith("1\n00:00:00,500 -->")


def test_one_input_goes_to_a_file_or_into_a_folder(
    typed: Typed, clip: Path, tmp_path: Path, instant: tuple[str, ...]
) -> None:
    assert typed("transcribe", clip, "-o", tmp_path / "a.txt", *instant).status == 0
    assert typed("transcribe", clip, "-o", tmp_path, *instant).status == 0
    assert (tmp_path / "a.txt").read_text() == (tmp_path / "clip.txt").read_text() != ""


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.srt", "srt"),
        ("a.VTT", "vtt"),
        ("a.json", "json"),
        ("a.verbose.json", "verbose_json"),
        ("a.words.txt", "words"),
        ("a.txt", "txt"),
        ("a", "txt"),
    ],
)
def test_a_files_ending_says_what_to_write(
    name: str, form: str, typed: Typed, clip: Path, tmp_path: Path, instant: tuple[str, ...]
) -> None:
    told = typed("transcribe", clip, "-f", form, *instant).out
    assert typed("transcribe", clip, "-o", tmp_path / name, *instant) == (0, "", "")
    assert (tmp_path / name).read_text() == told


def test_an_explicit_format_wins_over_an_ending(
    typed: Typed, clip: Path, tmp_path: Path, instant: tuple[str, ...]
) -> None:
    file = tmp_path / "a.srt"
    assert typed("transcribe", clip, "-f", "vtt", "-o", file, *instant).status == 0
    assert file.read_text().startswith("WEBVTT")


def test_a_slash_makes_a_folder(
    typed: Typed, clip: Path, tmp_path: Path, instant: tuple[str, ...]
) -> None:
    assert typed("transcribe", clip, "-o", f"{tmp_path}/new.srt/", *instant).status == 0
    assert (tmp_path / "new.srt" / "clip.txt").exists()


def test_a_full_disk_is_told(typed: Typed, clip: Path, instant: tuple[str, ...]) -> None:
    done = typed("transcribe", clip, "-o", "/dev/full", *instant)
    assert done.status == 1
    problem = "the transcript cannot be written to /dev/full: No space left on device"
    assert done.err == f"{clip}: {problem}\n"


def test_what_would_be_lost_is_refused_before_any_work(
    typed: Typed, clip: Path, tmp_path: Path
) -> None:
    twin = shutil.copy(clip, tmp_path)
    before = Path(twin).read_bytes()
    refused = {
        "overwritten": ("transcribe", twin, "-f", "txt", "-o", twin),
        "both be written": ("transcribe", clip, twin, "-o", tmp_path),
        "pass -o FOLDER": ("transcribe", clip, twin, "-f", "vtt"),
        "named like a file": ("transcribe", clip, twin, "-o", tmp_path / "both.srt"),
        "no format ends in .doc": ("transcribe", clip, "-o", tmp_path / "a.doc"),
        "cannot be made a folder": ("transcribe", clip, twin, "-o", twin),
        "there is no folder": ("transcribe", clip, "-o", tmp_path / "no" / "such" / "folder"),
    }
    for message, arguments in refused.items():
        done = typed(*arguments, *LOCAL)
        assert done.status == 2
        assert message in done.err
    assert Path(twin).read_bytes() == before
    assert list(tmp_path.iterdir()) == [Path(twin)]


def test_an_empty_pipe_is_no_recording(instant: tuple[str, ...]) -> None:
    done = run("transcribe", "-", *instant, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "stdin: is empty\n")
