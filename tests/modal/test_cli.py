"""`reflector-gpu modal deploy`, against the control plane."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping

import pytest

from tests.cli.conftest import Typed, typed  # noqa: F401  a fixture
from tests.cli.program import PROGRAM
from tests.conftest import ROOT
from tests.modal.control_plane import ControlPlane
from tests.modal.deployments import bare_environment

NAMES = ("transcriber", "transcriber-parakeet", "diarizer", "translator", "llm")


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        yield plane


def deploy_diarizer(environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """In a process of its own: this one must never find somebody's login to Modal."""
    return subprocess.run(
        [PROGRAM, "modal", "deploy", "diarizer"],
        cwd=ROOT,
        env={**bare_environment(), "MODAL_CONFIG_PATH": "/dev/null/none.toml", **environment},
        capture_output=True,
        text=True,
        timeout=90,
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


def test_a_setting_that_does_not_fit_is_told_by_its_variable(
    typed: Typed,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REFLECTOR_MODAL_WINDOW", "forever")
    done = typed("modal", "deploy", "diarizer", "--dry-run")
    assert done.status == 2
    assert "REFLECTOR_MODAL_WINDOW" in done.err


def test_a_key_is_made_once_and_printed_once(plane: ControlPlane) -> None:
    bic = {**plane.environment, "REFLECTOR_MODAL_DIARIZER_MODEL": "bic"}
    done = deploy_diarizer(bic)
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

    # Its weights are fetched first, by a function that can not run here.
    again = deploy_diarizer(plane.environment)
    assert again.returncode == 2
    assert "Fetching the weights for diarizer failed" in again.stderr
    assert "Using the secret reflector-gpu" in again.stderr
    assert key not in again.stdout + again.stderr
    assert plane.secrets["reflector-gpu"] == secret


def test_without_a_login_it_says_how_to_get_one() -> None:
    done = deploy_diarizer({"REFLECTOR_MODAL_DIARIZER_MODEL": "bic"})
    assert done.returncode == 2
    assert "modal setup" in done.stderr
