"""The files of remembered voices: whose they are, and what damage of one means."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from reflector_gpu.engines.diarization.pyannet.networks import DIMENSIONS
from reflector_gpu.errors import Conflict, Unavailable
from reflector_gpu.service import speaker_files
from reflector_gpu.service.speaker_files import Remembered, SpeakerFiles

VOICE = np.ones(DIMENSIONS, np.float32)


def speaker(owner: str, name: str) -> Remembered:
    return Remembered.of(owner, name, VOICE, 2.0, 0)


def added(files: SpeakerFiles, folder: Path, owner: str, name: str) -> Path:
    """The file of a new speaker."""
    before = set(folder.iterdir())
    files.add(speaker(owner, name))
    [file] = set(folder.iterdir()) - before
    return file


def names(found: tuple[Iterable[Remembered], int]) -> list[str]:
    assert found[1] == 0
    return [one.name for one in found[0]]


@pytest.fixture
def files(tmp_path: Path) -> SpeakerFiles:
    return SpeakerFiles(tmp_path, None)


def test_damage_concerns_the_owner_alone(files: SpeakerFiles, tmp_path: Path) -> None:
    added(files, tmp_path, "a", "Anna").write_bytes(b"")
    assert names(files.all("b")) == []
    files.add(speaker("b", "Ben"))
    assert names(files.all("b")) == ["Ben"]
    with pytest.raises(Unavailable, match="None of your"):
        files.all("a")
    files.add(speaker("a", "Henry"))
    known, damaged = files.all("a")
    assert ([one.name for one in known], damaged) == (["Henry"], 1)
    files.add(speaker("a", "Anna"))
    assert names(files.all("a")) == ["Anna", "Henry"]


def test_what_cannot_be_read_now_is_not_called_damaged(
    files: SpeakerFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files.add(speaker("a", "Anna"))
    file = added(files, tmp_path, "a", "Ben")
    file.unlink()
    file.mkdir()  # reading that is an error of the operating system
    with pytest.raises(Unavailable, match=r"cannot be read now \(Is a directory\)"):
        files.all("a")
    assert "Is a directory" in caplog.text
    assert "damaged" not in caplog.text
    assert names(files.all("b")) == []


def test_the_log_says_why_a_file_is_damaged(
    files: SpeakerFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = added(files, tmp_path, "a", "Anna")
    files.add(speaker("a", "Ben"))
    file.write_text("{}")
    for _ in range(2):
        assert files.all("a")[1] == 1
    [told] = caplog.messages
    assert file.name in told
    assert "TypeError" in told


def test_an_owner_has_so_many_speakers(
    files: SpeakerFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speaker_files, "MOST_SPEAKERS", 2)
    added(files, tmp_path, "a", "Anna").write_bytes(b"")
    for owner, name in (("b", "Anna"), ("b", "Ben"), ("b", "Ben"), ("a", "Ben")):
        files.add(speaker(owner, name))
    for owner in "ab":
        with pytest.raises(Conflict):
            files.add(speaker(owner, "Carl"))


def older(file: Path) -> Path:
    """Gives a file the name that earlier versions gave it."""
    return file.rename(file.with_name(file.name.partition("-")[2]))


def test_files_of_earlier_versions_are_renamed(files: SpeakerFiles, tmp_path: Path) -> None:
    file = added(files, tmp_path, "a", "Anna")
    damaged = older(added(files, tmp_path, "a", "Ben"))
    damaged.write_bytes(b"")
    older(file)
    files = SpeakerFiles(tmp_path, None)
    assert set(tmp_path.iterdir()) == {file, damaged}
    assert names(files.all("a")) == ["Anna"]
    assert files.has_file("a", "Ben")
    assert not files.has_file("b", "Ben")
    assert names(files.all("b")) == []


def test_nothing_is_left_of_a_damaged_file_of_an_earlier_version(
    files: SpeakerFiles, tmp_path: Path
) -> None:
    for name in ("Anna", "Ben"):
        older(added(files, tmp_path, "a", name)).write_bytes(b"")
    files.add(speaker("a", "Anna"))
    assert files.remove("a", "Ben")
    assert not files.remove("a", "Ben")
    assert len(list(tmp_path.iterdir())) == 1
    assert names(files.all("a")) == ["Anna"]
