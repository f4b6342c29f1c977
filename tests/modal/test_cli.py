"""`reflector-gpu modal deploy`, against the control plane."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence

import pytest

from tests.cli.conftest import Typed, typed  # noqa: F401  a fixture
from tests.cli.program import PROGRAM
from tests.conftest import ROOT
from tests.engines.tiny import WHISPER
from tests.modal.control_plane import ControlPlane
from tests.modal.deployments import bare_environment
from tests.waiting import PROGRAM_SECONDS

pytestmark = pytest.mark.slow

BIC = {"REFLECTOR_MODAL_DIARIZER_MODEL": "bic"}
NAMES = ("transcriber", "transcriber-parakeet", "diarizer", "translator", "padding", "llm")


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        yield plane


def deploy(
    names: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """In a process of its own: this one must never find somebody's login to Modal."""
    return subprocess.run(
        [PROGRAM, "modal", "deploy", *names],
        cwd=ROOT,
        env={**bare_environment(), "MODAL_CONFIG_PATH": "/dev/null/none.toml", **environment},
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )


def variables(output: str) -> dict[str, str]:
    return dict(re.findall(r"^\s*([A-Z_]+)=(.*)$", output, re.MULTILINE))


def test_a_dry_run_shows_everything(typed: Typed) -> None:  # noqa: F811
    done = typed("modal", "deploy", "--all", "--dry-run")
    assert done.status == 0, done.err
    for name in NAMES:
        assert f"modal_deployments/reflector_{name.replace('-', '_')}.py" in done.out
        assert f"https://<workspace>--reflector-{name}-web.modal.run" in done.out
    told = variables(done.out)
    backends = {told[f"{name}_BACKEND"] for name in ("TRANSCRIPT", "DIARIZATION", "TRANSLATION")}
    assert backends == {"modal"}
    assert told["TRANSCRIPT_MODAL_API_KEY"] == "<key>"
    assert told["DIARIZATION_MODAL_API_KEY"] == "${TRANSCRIPT_MODAL_API_KEY}"


def test_padding_needs_no_weights_and_tells_what_reflector_reads(plane: ControlPlane) -> None:
    database = {"REFLECTOR_DATABASE_URL": "postgresql://me:hidden@db/jobs"}
    done = deploy(["padding"], {**plane.environment, **database})
    assert done.returncode == 0, done.stderr
    assert "Fetching" not in done.stderr
    assert "hidden" not in done.stdout + done.stderr
    assert database.items() <= plane.secrets["reflector-gpu"].items()
    assert variables(done.stdout) == {
        "PADDING_URL": "https://xxxx--reflector-padding-web.modal.run",
        "PADDING_MODAL_API_KEY": plane.secrets["reflector-gpu"]["REFLECTOR_APIKEY"],
        "MODAL_API_KEY": "${PADDING_MODAL_API_KEY}",
    }


def test_gated_weights_take_a_token(
    typed: Typed,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "HF_TOKEN" not in typed("modal", "deploy", "diarizer", "--dry-run").out
    gated = "pyannote/speaker-diarization-3.1"
    monkeypatch.setenv("REFLECTOR_MODAL_DIARIZER_MODEL", gated)
    assert "HF_TOKEN" in typed("modal", "deploy", "diarizer", "--dry-run").out


@pytest.mark.parametrize(("names", "told"), [(["summarizer"], "summarizer"), ([], "--all")])
def test_without_a_known_app_it_lists_them(
    typed: Typed,  # noqa: F811
    names: list[str],
    told: str,
) -> None:
    done = typed("modal", "deploy", "--dry-run", *names)
    assert done.status == 2
    assert told in done.err
    assert ", ".join(NAMES) in done.err


def test_the_help_names_every_app(typed: Typed) -> None:  # noqa: F811
    said = typed("modal", "deploy", "--help").out
    assert all(re.search(rf"\b{name}\b", said) for name in NAMES)


def test_a_setting_that_does_not_fit_is_told_by_its_variable(
    typed: Typed,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REFLECTOR_MODAL_WINDOW", "forever")
    done = typed("modal", "deploy", "diarizer", "--dry-run")
    assert done.status == 2
    assert "REFLECTOR_MODAL_WINDOW" in done.err


def test_a_key_is_made_once_and_printed_once(plane: ControlPlane) -> None:
    done = deploy(["diarizer"], {**plane.environment, **BIC})
    assert done.returncode == 0, done.stderr
    secret = plane.secrets["reflector-gpu"]
    key = secret["REFLECTOR_APIKEY"]
    assert len(key) >= 32
    assert (done.stdout + done.stderr).count(key) == 1
    assert variables(done.stdout) == {
        "DIARIZATION_BACKEND": "modal",
        "DIARIZATION_URL": "https://xxxx--reflector-diarizer-web.modal.run",
        "DIARIZATION_MODAL_API_KEY": key,
    }

    # Its weights are fetched first, by a function that cannot run here.
    again = deploy(["diarizer"], plane.environment)
    assert again.returncode == 2
    assert "Fetching the weights for diarizer failed" in again.stderr
    assert "Using the secret reflector-gpu" in again.stderr
    assert key not in again.stdout + again.stderr
    assert plane.secrets["reflector-gpu"] == secret


def test_without_a_login_it_says_how_to_get_one() -> None:
    done = deploy(["diarizer"], BIC)
    assert done.returncode == 2
    assert "modal setup" in done.stderr


def test_a_key_is_told_though_the_deployment_failed(plane: ControlPlane) -> None:
    plane.refused.add("AppPublish")
    done = deploy(["diarizer"], {**plane.environment, **BIC})
    assert done.returncode == 2
    assert "Deploying diarizer failed" in done.stderr
    key = plane.secrets["reflector-gpu"]["REFLECTOR_APIKEY"]
    assert done.stdout.count(key) == 1
    assert key not in done.stderr


def test_what_was_deployed_before_a_failure_is_told_with_the_key(plane: ControlPlane) -> None:
    # The second has weights to fetch, by a function that cannot run here.
    done = deploy(["diarizer", "translator"], {**plane.environment, **BIC})
    assert done.returncode == 2
    key = plane.secrets["reflector-gpu"]["REFLECTOR_APIKEY"]
    assert variables(done.stdout) == {
        "DIARIZATION_BACKEND": "modal",
        "DIARIZATION_URL": "https://xxxx--reflector-diarizer-web.modal.run",
        "DIARIZATION_MODAL_API_KEY": key,
    }


PUT = "modal volume put reflector-models FOLDER /llm"


def test_a_language_model_that_is_not_in_the_volume_is_not_deployed(plane: ControlPlane) -> None:
    alone = deploy(["llm"], plane.environment)
    assert alone.returncode == 2
    assert PUT in alone.stderr
    assert not plane.secrets
    beside = deploy(["diarizer", "llm"], {**plane.environment, **BIC})
    assert beside.returncode == 0, beside.stderr
    assert PUT in beside.stderr
    assert "LLM_URL" not in beside.stdout
    assert [one.name for one in plane.asked["AppPublish"]] == ["reflector-diarizer"]


def test_one_that_is_there_is_deployed(plane: ControlPlane) -> None:
    plane.in_volume.add("/llm/model.bin")
    done = deploy(["llm"], plane.environment)
    assert done.returncode == 0, done.stderr
    assert PUT not in done.stderr
    assert variables(done.stdout)["LLM_URL"].endswith("--reflector-llm-web.modal.run/v1")


def test_the_plan_has_the_command_that_brings_a_language_model(typed: Typed) -> None:  # noqa: F811
    assert PUT in typed("modal", "deploy", "llm", "--dry-run").out
    assert PUT not in typed("modal", "deploy", "diarizer", "--dry-run").out


def test_a_model_in_a_folder_of_this_machine_is_refused(
    typed: Typed,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REFLECTOR_MODEL_PATHS", json.dumps({"mine": str(WHISPER)}))
    monkeypatch.setenv("REFLECTOR_MODAL_TRANSCRIBER_MODEL", "mine")
    done = typed("modal", "deploy", "transcriber", "--dry-run")
    assert done.status == 2
    assert "REFLECTOR_MODEL_PATHS" in done.err


def test_more_containers_can_not_be_kept_than_there_may_be(
    typed: Typed,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REFLECTOR_MODAL_MIN_CONTAINERS", "5")
    monkeypatch.setenv("REFLECTOR_MODAL_LIVE_CONTAINERS", "5")
    done = typed("modal", "deploy", "diarizer", "--dry-run")
    assert done.status == 2
    assert "REFLECTOR_MODAL_MIN_CONTAINERS" in done.err
    assert typed("modal", "deploy", "transcriber", "--dry-run").status == 0
