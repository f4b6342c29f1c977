"""What can be typed as an input, and what is known of it before it is heard."""

from __future__ import annotations

from pathlib import Path

import pytest

from reflector_gpu.cli.sources import Source
from tests.conftest import SAMPLES


@pytest.mark.parametrize(
    ("typed", "label"),
    [
        ("meetings/stand up.wav", "stand up.wav"),
        ("https://a.host/meetings/stand%20up.mp3?signature=secret", "stand up.mp3"),
        ("HTTP://a.host/?token=secret", "a.host"),
    ],
)
def test_a_label_has_no_folders_and_no_secrets(typed: str, label: str) -> None:
    assert Source.of(typed).label == label


@pytest.mark.parametrize("name", ["standup.wav", "standup.mp3", "standup.m4a", "standup.ogg"])
def test_headers_tell_the_length(name: str) -> None:
    assert Source.of(str(SAMPLES / name)).seconds() == pytest.approx(66.5, abs=1)


def test_what_has_no_length_has_none(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("#EXTM3U\nhttp://a.host.invalid/x.ts\n")
    for typed in (tmp_path / "notes.txt", tmp_path, tmp_path / "gone", "https://a.host.invalid/x"):
        assert Source.of(str(typed)).seconds() is None
