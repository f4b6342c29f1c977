"""Commands in messages: plain for HTTP clients, ready to be pasted for whoever runs the program."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from reflector_gpu.cli import hints
from reflector_gpu.cli.hints import here, message_of
from reflector_gpu.engines.base import AnyModel
from reflector_gpu.engines.diarization.catalog import DIARIZERS
from reflector_gpu.engines.recognition import catalog
from reflector_gpu.engines.recognition.catalog import MODELS
from reflector_gpu.engines.translation.catalog import TRANSLATORS
from reflector_gpu.errors import ModelNotInstalled, UpstreamFailed
from tests.api.engines import ABSENT
from tests.cli.conftest import Typed
from tests.cli.program import PROGRAM
from tests.conftest import ROOT

BIN = Path(sys.executable).parent


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In no folder of the program's, and with nothing of it on the PATH."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(sys, "argv", [PROGRAM])


def test_a_checkout_installs_itself_with_its_constraints(monkeypatch: pytest.MonkeyPatch) -> None:
    assert here("Run pip install 'reflector-gpu[whisper,llm]'.") == (
        f"Run {BIN}/pip install -c {ROOT}/constraints.txt -e '{ROOT}[whisper,llm]'."
    )
    monkeypatch.chdir(ROOT)
    message_of = here("pip install 'reflector-gpu[whisper]' && reflector-gpu models pull tiny")
    assert message_of == (
        f"{hints._shown(BIN / 'pip')} install -c constraints.txt -e '.[whisper]' && "
        f"{hints._shown(Path(PROGRAM))} models pull tiny"
    )


def test_an_installed_package_installs_itself_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "_checkout", lambda: None)
    assert here("pip install 'reflector-gpu[llm]'") == f"{BIN}/pip install 'reflector-gpu[llm]'"


def test_programs_are_called_by_the_shortest_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert here("see: reflector-gpu config") == f"see: {PROGRAM} config"
    monkeypatch.setenv("PATH", f"{BIN}:/usr/bin")
    assert here("see: reflector-gpu config") == "see: reflector-gpu config"
    assert here("pip uninstall onnxruntime") == "pip uninstall onnxruntime"
    spaced = tmp_path / "my env" / "reflector-gpu"
    monkeypatch.setattr(sys, "argv", [str(spaced)])
    assert here("see: reflector-gpu config") == "see: 'my env/reflector-gpu' config"


def test_run_as_a_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["/some/where/reflector_gpu/__main__.py"])
    assert here("reflector-gpu serve") == f"{PROGRAM} serve"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    assert here("reflector-gpu serve") == "python3 -m reflector_gpu serve"
    assert here("pip install av") == "python3 -m pip install av"


@pytest.mark.parametrize(
    "text",
    [
        "reflector-gpu 1.0, Python 3.11",
        "The server sends no times: it is no reflector-gpu.",
        "https://example.com/reflector-gpu config",
        "sudo apt-get install apertium",
        "uv pip",
    ],
)
def test_text_without_our_commands_stays(text: str) -> None:
    assert here(text) == text


def test_another_servers_commands_are_its_own() -> None:
    command = "reflector-gpu models pull tiny"
    assert message_of(ModelNotInstalled(command)) == f"{PROGRAM} models pull tiny"
    assert message_of(UpstreamFailed(command)) == command


KNOWN = [*MODELS.values(), *DIARIZERS.models.values(), *TRANSLATORS.models.values()]


@pytest.mark.parametrize("model", KNOWN, ids=lambda model: model.name)
def test_every_installation_can_be_pasted(model: AnyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(model), "missing", (*model.packages, *model.programs, "weights"))
    for command in here(model.installation).split(" && "):
        program, *_ = shlex.split(command, comments=True)
        assert shutil.which(program) or program == "sudo", command


def test_errors_name_the_command_that_works_here(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalog.MODELS, ABSENT.name, replace(ABSENT, extra="whisper"))
    done = typed("serve", "--port", "0", "--model", ABSENT.name)
    assert done.status == 2
    assert f"{BIN}/pip install -c {ROOT}/constraints.txt -e '{ROOT}[whisper]'" in done.err
