"""How voices are kept: encrypted, apart for each key, and forgotten when that is asked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from reflector_gpu.errors import ConfigurationError
from reflector_gpu.types import SAMPLE_RATE
from tests.api.diarization.voices import (
    DIARIZATION,
    ROUTE,
    Halves,
    clip,
    encrypted,
    remember,
    speakers,
)
from tests.api.support import error_of, silence
from tests.live import KEY, LiveServer


def test_what_is_deleted_is_forgotten(
    http: httpx.Client,
    halves: Halves,
    second_halves: bytes,
    store: Path,
) -> None:
    remember(http, "Anna", clip(halves, "Anna"))
    assert list(store.iterdir())
    assert http.delete(f"{ROUTE}/Anna").json() == {
        "object": "speaker",
        "name": "Anna",
        "deleted": True,
    }
    assert list(store.iterdir()) == []
    assert "Anna" not in speakers(http, second_halves, known_speakers="all")
    assert error_of(http.delete(f"{ROUTE}/Anna"), 404)["param"] == "name"
    remember(http, "Anna / Ben?", clip(halves, "Anna"))
    assert http.delete(f"{ROUTE}/Anna%20%2F%20Ben%3F").json()["deleted"]
    assert http.get(ROUTE).json()["data"] == []
    answer = http.post(DIARIZATION, files={"file": second_halves}, data={"known_speakers": "Anna"})
    assert error_of(answer, 400)["param"] == "known_speakers"


@encrypted
def test_nothing_legible_is_kept_and_no_audio(
    http: httpx.Client, halves: Halves, store: Path
) -> None:
    remember(http, "Anna", clip(halves, "Anna"))
    (file,) = store.iterdir()
    assert file.stat().st_size < 4000
    assert file.stat().st_mode & 0o077 == 0
    assert b"Anna" not in file.read_bytes()
    assert "Anna" not in file.name


def test_voices_are_those_of_the_key_that_sent_them(
    remembering: LiveServer, http: httpx.Client, halves: Halves
) -> None:
    remember(http, "Anna", clip(halves, "Anna"))
    with remembering.client("other") as other:
        assert other.get(ROUTE).json()["data"] == []
        assert error_of(other.delete(f"{ROUTE}/Anna"), 404)
    assert len(http.get(ROUTE).json()["data"]) == 1


def test_damage_of_one_keys_voices_does_not_concern_another(
    remembering: LiveServer,
    http: httpx.Client,
    halves: Halves,
    store: Path,
) -> None:
    remember(http, "Anna", clip(halves, "Anna"))
    [damaged] = store.iterdir()
    damaged.write_bytes(b"")
    assert "send clips" in error_of(http.get(ROUTE), 503)["message"]
    with remembering.client("other") as other:
        assert remember(other, "Anna", clip(halves, "Anna")).status_code == 200
        listed = other.get(ROUTE).json()
        assert ([one["name"] for one in listed["data"]], listed["unreadable"]) == (["Anna"], 0)
        other.delete(f"{ROUTE}/Anna")
    assert http.delete(f"{ROUTE}/Anna").json()["deleted"]


def test_bad_voices_are_refused(http: httpx.Client, halves: Halves) -> None:
    anna, david = clip(halves, "Anna"), clip(halves, "David")
    two = np.concatenate([anna[: 8 * SAMPLE_RATE], silence(1), david[: 8 * SAMPLE_RATE]])
    assert "Several people" in error_of(remember(http, "Anna", two), 400)["message"]
    assert error_of(remember(http, "Anna", silence(5)), 400)["param"] == "file"
    for name in ("all", "Anna, Berg", "", " "):
        assert error_of(remember(http, name, anna), 400)["param"] == "name"
    assert error_of(http.post(ROUTE, data={"name": "Anna"}), 400)
    assert http.get(ROUTE).json()["data"] == []


def test_a_damaged_file_hides_nobody_else(
    http: httpx.Client,
    halves: Halves,
    second_halves: bytes,
    store: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    remember(http, "Anna", clip(halves, "Anna"))
    intact = set(store.iterdir())
    remember(http, "Henry", clip(halves, "Henry"))
    [damaged] = set(store.iterdir()) - intact
    damaged.write_bytes(damaged.read_bytes()[:100])
    listed = http.get(ROUTE).json()
    assert [one["name"] for one in listed["data"]] == ["Anna"]
    assert listed["unreadable"] == 1
    assert damaged.name in caplog.text
    assert "Anna" in speakers(http, second_halves, known_speakers="Anna")
    for wanted, problem in (("Henry", "'Henry' is damaged"), ("all", "are damaged (1)")):
        answer = http.post(
            DIARIZATION, files={"file": second_halves}, data={"known_speakers": wanted}
        )
        assert problem in error_of(answer, 503)["message"]
    remember(http, "Henry", clip(halves, "Henry"))
    assert len(http.get(ROUTE).json()["data"]) == 2
    assert http.get(ROUTE).json()["unreadable"] == 0


@encrypted
def test_another_key_does_not_open_the_files(
    http: httpx.Client,
    halves: Halves,
    store: Path,
    bare: Callable[..., LiveServer],
) -> None:
    remember(http, "Anna", clip(halves, "Anna"))
    other = bare(apikey=KEY, speaker_store=store, speaker_store_key="another secret, as long")
    with other.client() as client:
        assert "REFLECTOR_SPEAKER_STORE_KEY" in error_of(client.get(ROUTE), 503)["message"]


def test_a_place_that_cannot_be_used_is_a_mistake_of_the_operator(
    bare: Callable[..., LiveServer], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigurationError, match="REFLECTOR_SPEAKER_STORE"):
        bare(apikey=KEY, speaker_store=file)


def test_without_its_package_nothing_is_left_unencrypted(
    bare: Callable[..., LiveServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    with pytest.raises(ConfigurationError, match="encryption"):
        bare(apikey=KEY, speaker_store=tmp_path, speaker_store_key="a secret of mine")
