"""``doctor``: every check, when all is well and when it is not."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import onnxruntime
import pytest

from reflector_gpu.cli import engine_checks, machine_checks
from reflector_gpu.cli.checks import Check, Status
from reflector_gpu.cli.listen import listen
from reflector_gpu.engines.recognition.base import RecogniserModel
from reflector_gpu.engines.recognition.catalog import MODELS
from reflector_gpu.engines.recognition.resolution import Recognisers
from reflector_gpu.errors import EngineFailed
from reflector_gpu.service import Service
from reflector_gpu.service.catalogs import recognisers_of
from reflector_gpu.settings import Settings, load_settings
from reflector_gpu.store import keys
from reflector_gpu.store.configured import open_database
from reflector_gpu.store.keys import Scope
from tests.cli.conftest import Typed
from tests.cli.program import environment, run
from tests.engines.tiny import PARAKEET, WHISPER
from tests.live import LiveServer

SCRIPTED = MODELS["scripted"]


@pytest.fixture(autouse=True)
def no_downloads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is installed must not hang on what this machine has downloaded."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))


@pytest.mark.slow
def test_a_sound_machine_hears_a_sentence() -> None:
    done = run("doctor", "--port", "0", env={**environment(), "HF_HUB_CACHE": "/nonesuch"})
    assert done.returncode == 0, done.stdout
    lines = {line.split()[1]: line for line in done.stdout.splitlines()}
    assert lines["sphinx"].startswith("ok")
    assert f'heard "{engine_checks.SPOKEN}"' in lines["sphinx"]
    assert lines["scripted"].startswith("ok")
    assert not [line for line in lines.values() if line.startswith("FAIL")]
    assert "Checking sphinx ...\nChecking scripted ...\n" in done.stderr


def only_the_default(settings: Settings) -> Recognisers:
    """No engine but the configured one, so that no other has to be tried."""
    catalog = recognisers_of(settings)
    catalog.models = {catalog.default.name: catalog.default}
    return catalog


def test_what_is_essential_and_broken_fails(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_checks, "recognisers_of", only_the_default)
    done = typed("doctor", "--host", "0.0.0.0", "--port", 0, "--model", "large-v2", "--json")
    assert done.status == 1
    failed = {c["name"]: c for c in json.loads(done.out) if c["status"] == "fail"}
    assert set(failed) == {"key", "large-v2"}
    assert "REFLECTOR_APIKEY" in failed["key"]["fix"]
    assert failed["large-v2"]["fix"].endswith("reflector-gpu models pull large-v2")


def test_settings_that_do_not_load_are_a_failed_check(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFLECTOR_WORKERS", "many")
    done = typed("doctor")
    assert done.status == 1
    *_, failure = done.out.splitlines()
    assert failure.startswith("FAIL  settings      REFLECTOR_WORKERS: ")


def settings(**overrides: object) -> Settings:
    return load_settings(**overrides)


def test_a_taken_port_is_a_warning() -> None:
    with listen("127.0.0.1", 0) as taken:
        check = machine_checks.port(settings(port=taken.getsockname()[1]))
    assert check.status is Status.WARN
    assert check.fix


def test_a_port_that_our_own_server_holds_is_no_problem() -> None:
    with LiveServer(model="scripted", workers=1, wait=False) as server:
        check = machine_checks.port(settings(port=urlsplit(server.url).port))
    assert check.status is Status.OK
    assert "a reflector-gpu server" in check.detail


def test_little_room_is_a_warning(tmp_path: Path) -> None:
    check = machine_checks.spool(settings(spool_dir=tmp_path, max_upload_mb=1e12))
    assert check.status is Status.WARN
    assert "REFLECTOR_MAX_UPLOAD_MB" in check.fix


def test_a_folder_that_is_gone_fails(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    chosen = settings(spool_dir=folder)
    folder.rmdir()
    assert machine_checks.spool(chosen).status is Status.FAIL


@pytest.mark.parametrize(
    ("overrides", "status"),
    [
        ({}, Status.OK),
        ({"host": "0.0.0.0", "apikey": "secret"}, Status.OK),
        ({"host": "0.0.0.0", "insecure": True}, Status.WARN),
        ({"host": "0.0.0.0"}, Status.FAIL),
        ({"host": "0.0.0.0", "trusted_networks": "172.18.0.0/16"}, Status.OK),
        ({"host": "0.0.0.0", "trusted_networks": "0.0.0.0/0"}, Status.WARN),
        ({"apikey": "secret", "trusted_networks": "::/0"}, Status.WARN),
        (
            {
                "apikey": "secret",
                "trusted_networks": "10.0.0.0/8",
                "trusted_proxies": "0.0.0.0/1, 128.0.0.0/1",
            },
            Status.WARN,
        ),
    ],
    ids=str,
)
def test_who_may_use_the_server(overrides: dict[str, object], status: Status) -> None:
    check = machine_checks.key(settings(**overrides))
    assert check.status is status
    assert bool(check.fix) == (status is not Status.OK)
    assert "secret" not in check.detail


def test_named_keys_are_keys(tmp_path: Path) -> None:
    where: dict[str, object] = {"host": "0.0.0.0", "data_dir": tmp_path / "data"}
    kept, key = machine_checks.access(settings(**where))
    assert (kept.status, key.status) == (Status.OK, Status.FAIL)
    assert str(tmp_path) in kept.detail
    database = open_database(settings(**where))
    assert database
    database.write_now(partial(keys.create, name="alice", scopes=[Scope.JOBS]))
    database.close()
    _, key = machine_checks.access(settings(**where))
    assert (key.status, key.fix) == (Status.OK, "")
    assert "reflector-gpu keys" in key.detail


def test_a_database_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "reflector.db").write_bytes(b"not a database" * 100)
    kept, key = machine_checks.access(settings(data_dir=tmp_path))
    assert (kept.status, key.status) == (Status.FAIL, Status.OK)
    assert "REFLECTOR_DATA_DIR" in kept.fix
    [nothing, _] = machine_checks.access(settings())
    assert "none are kept" in nothing.detail


@pytest.mark.parametrize(
    ("card", "cuda", "profile", "status", "detail"),
    [
        ("", False, "cpu", Status.OK, "CPU only"),
        ("", False, "gpu", Status.WARN, "CPU only, but"),
        ("NVIDIA H200, 143771 MiB", False, "cpu", Status.WARN, "NVIDIA H200, 143771 MiB, but"),
        ("NVIDIA H200, 143771 MiB", True, "gpu", Status.OK, "CUDA on NVIDIA H200, 143771 MiB"),
    ],
)
def test_devices(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    card: str,
    cuda: bool,
    profile: str,
    status: Status,
    detail: str,
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n[ '{card}' ] && echo '{card}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    providers = ["CUDAExecutionProvider"] if cuda else ["CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    check = machine_checks.devices(settings(profile=profile))
    assert check.status is status
    assert check.detail.startswith(detail)


def engine(model: RecogniserModel, *, essential: bool) -> Check:
    return engine_checks._engine(settings(workers=1), model, essential=essential)


@pytest.mark.parametrize("essential", [True, False])
def test_an_engine_that_hears_something_else(
    monkeypatch: pytest.MonkeyPatch, essential: bool
) -> None:
    monkeypatch.setattr(engine_checks, "_DEAF", "")
    check = engine(SCRIPTED, essential=essential)
    assert check.status is (Status.FAIL if essential else Status.WARN)
    assert f'instead of "{engine_checks.SPOKEN}"' in check.detail


def test_an_engine_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    async def heard(_: object) -> str:
        raise EngineFailed("The weights are damaged.")

    monkeypatch.setattr(engine_checks, "_heard", heard)
    check = engine(SCRIPTED, essential=True)
    assert (check.status, check.detail) == (Status.FAIL, "The weights are damaged.")
    assert check.fix


@pytest.mark.parametrize(
    ("automatic", "status", "detail"),
    [
        ("parakeet,whisper", Status.OK, "answered by whisper"),
        ("parakeet,large-v3", Status.WARN, "parakeet takes it to be 'en'"),
        ("parakeet", Status.WARN, "parakeet takes it to be 'en'"),
    ],
)
def test_who_answers_where_no_language_is_told(automatic: str, status: Status, detail: str) -> None:
    paths = {"parakeet": str(PARAKEET), "whisper": str(WHISPER)}
    chosen = settings(model="auto", auto_models=automatic, model_paths=paths)
    check = machine_checks.unnamed_language(Service(chosen))
    assert check.status is status
    assert detail in check.detail
    assert ("models pull large-v3" in check.fix) == ("large-v3" in automatic)
    assert bool(check.fix) == (status is not Status.OK)
