"""What can be typed as an input, and what is known of it before it is heard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from reflector_gpu.cli.sources import Source
from tests.conftest import SAMPLES


@pytest.fixture
def files() -> Iterator[ExitStack]:
    with ExitStack() as files:
        yield files


@pytest.mark.parametrize(
    ("typed", "label", "name"),
    [
        ("meetings/stand up.wav", "stand up.wav", "meetings/stand up.wav"),
        (
            "https://me:secret@a.host/meetings/stand%20up.mp3?signature=secret",
            "stand up.mp3",
            "https://a.host/meetings/stand%20up.mp3",
        ),
        ("HTTP://a.host/?token=secret", "a.host", "http://a.host/"),
        ("-", "stdin", "stdin"),
    ],
)
def test_a_label_has_no_folders_and_a_name_no_secrets(
    typed: str, label: str, name: str, files: ExitStack
) -> None:
    source = Source.of(typed, files)
    assert (source.label, source.name) == (label, name)


@pytest.mark.parametrize("name", ["standup.wav", "standup.mp3", "standup.m4a", "standup.ogg"])
def test_headers_tell_the_length(name: str, files: ExitStack) -> None:
    assert Source.of(str(SAMPLES / name), files).seconds() == pytest.approx(66.5, abs=1)


def test_what_has_no_length_has_none(tmp_path: Path, files: ExitStack) -> None:
    (tmp_path / "notes.txt").write_text("#EXTM3U\nhttp://a.host.invalid/x.ts\n")
    for typed in (tmp_path / "notes.txt", tmp_path, tmp_path / "gone", "https://a.host.invalid/x"):
        assert Source.of(str(typed), files).seconds() is None
