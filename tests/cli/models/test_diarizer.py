"""Who says what, from the command line, with networks that are downloaded for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reflector_gpu.cli import engine_checks
from reflector_gpu.cli.checks import Check, Status
from reflector_gpu.engines.diarization.catalog import DIARIZERS
from reflector_gpu.settings import load_settings
from tests.cli.program import environment, run
from tests.conftest import SAMPLES
from tests.engines.hub import Hub
from tests.engines.tiny import SEGMENTATION

pytestmark = pytest.mark.slow

FILES = sorted(DIARIZERS.models["segmentation"].arguments.values())


def test_a_pull_fetches_both_networks(diarizer_hub: Hub) -> None:
    done = run("models", "pull", "segmentation")
    assert done.returncode == 0, done.stderr
    assert sorted(diarizer_hub.fetched) == FILES
    records = json.loads(run("models", "list", "--json").stdout)
    [record] = [record for record in records if record["name"] == "segmentation"]
    assert (record["installed"], record["megabytes"]) == (True, 33)
    assert record["folder"] == done.stdout.strip()


def test_transcribe_downloads_first_where_it_may(diarizer_hub: Hub) -> None:
    arguments = ("transcribe", str(SAMPLES / "standup.ogg"), "--model", "scripted")
    chosen = {"DIARIZER": "segmentation"}
    done = run(*arguments, "--diarize", env=environment(**chosen))
    assert done.returncode == 2
    assert "reflector-gpu models pull segmentation" in done.stderr
    assert diarizer_hub.looked_up == []

    done = run(*arguments, env=environment(**chosen, AUTO_PULL="true"))
    assert done.returncode == 0
    assert diarizer_hub.looked_up == [], "nobody asks who speaks"

    done = run(*arguments, "--diarize", env=environment(**chosen, AUTO_PULL="true"))
    assert (done.returncode, done.stderr) == (0, "Downloading segmentation: 33 MB, once\n")
    assert sorted(diarizer_hub.fetched) == FILES
    for label in "ABC":
        assert f"{label}: " in done.stdout


@pytest.mark.parametrize("name", ["pair", "pyannet", "bic"])
def test_the_doctor_hears_that_one_person_speaks(name: str) -> None:
    settings = load_settings(diarizer=name, model_paths={"pair": str(SEGMENTATION)})
    assert engine_checks.diarizer(settings) == Check(
        name, Status.OK, "heard that one person speaks"
    )


def test_the_doctor_names_the_command_where_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    check = engine_checks.diarizer(load_settings(diarizer="segmentation"))
    assert check.status is Status.WARN
    assert check.fix == "reflector-gpu models pull segmentation"
