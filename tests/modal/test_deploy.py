"""What `modal deploy` registers for each of the six files, by Modal's own client."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from modal.mount import ROOT_DIR
from modal_proto import api_pb2 as api

import reflector_gpu
from reflector_gpu.deploy.on_modal.images import pinned, requirements
from reflector_gpu.deploy.on_modal.settings import ModalSettings, carried
from reflector_gpu.engines.diarization.catalog import DIARIZERS
from reflector_gpu.engines.recognition.catalog import MODELS
from reflector_gpu.engines.translation.catalog import TRANSLATORS
from reflector_gpu.errors import ConfigurationError
from tests.conftest import ROOT
from tests.modal.deployments import FILES, FOLDER, Deployed, deploy

pytestmark = pytest.mark.slow

TRANSCRIBERS = {"reflector-transcriber", "reflector-transcriber-parakeet"}
ENGINES = TRANSCRIBERS | {"reflector-diarizer", "reflector-translator", "reflector-llm"}
APPS = ENGINES | {"reflector-padding"}

GPUS = {
    "reflector-transcriber": {"Live.*": "A10G", "File.*": "L40S"},
    "reflector-transcriber-parakeet": {"Live.*": "A10G", "File.*": "L40S"},
    "reflector-diarizer": {"Engine.*": "A10G"},
    "reflector-translator": {"Engine.*": "A10G"},
    "reflector-llm": {"Engine.*": "L40S"},
    "reflector-padding": {},
}

LIBRARIES = {
    "reflector-transcriber": ("faster-whisper", "nvidia-cublas-cu12"),
    "reflector-transcriber-parakeet": ("onnx-asr[hub]", "onnxruntime-gpu[cuda,cudnn]"),
    "reflector-diarizer": ("onnxruntime-gpu[cuda,cudnn]",),
    "reflector-translator": ("ctranslate2", "nvidia-cublas-cu12"),
    "reflector-llm": ("ctranslate2", "nvidia-cublas-cu12"),
}
"""What makes an engine run on its GPU: CTranslate2 wants CUDA 12, ONNX Runtime brings CUDA 13."""


SECRET = "s3cret-and-long"


@pytest.fixture(scope="module")
def apps() -> Mapping[str, Deployed]:
    """All six, deployed as they stand."""
    with ThreadPoolExecutor(2) as threads:
        return {found.app: found for found in threads.map(deploy, FILES)}


@pytest.fixture(params=sorted(APPS))
def app(apps: Mapping[str, Deployed], request: pytest.FixtureRequest) -> Deployed:
    return apps[request.param]


@pytest.fixture(params=sorted(ENGINES))
def with_engine(apps: Mapping[str, Deployed], request: pytest.FixtureRequest) -> Deployed:
    return apps[request.param]


def engines(app: Deployed) -> dict[str, Any]:
    return {name: one for name, one in app.functions.items() if name.endswith(".*")}


def test_there_are_six_apps(apps: Mapping[str, Deployed]) -> None:
    assert set(apps) == APPS


def test_the_server_is_an_asgi_app_at_the_address_that_reflector_knows(app: Deployed) -> None:
    web = app.functions["web"]
    assert web.webhook_config.type == api.WEBHOOK_TYPE_ASGI_APP
    assert f"https://xxxx--{app.app}-web.modal.run" in app.output
    assert web.max_concurrent_inputs == (64 if engines(app) else 4)
    assert not web.resources.gpu_config.gpu_type


def test_the_key_comes_from_the_secret_and_reaches_the_server_alone(app: Deployed) -> None:
    assert app.secrets["reflector-gpu"] == ["REFLECTOR_APIKEY"]
    key = app.plane.secret_id("reflector-gpu")
    assert [name for name, one in app.functions.items() if key in one.secret_ids] == ["web"]


def test_each_class_has_its_gpu(app: Deployed) -> None:
    found = {name: one.resources.gpu_config.gpu_type for name, one in engines(app).items()}
    assert found == GPUS[app.app]


def test_libraries_take_as_many_threads_as_there_are_cores(app: Deployed) -> None:
    for name, function in app.functions.items():
        if name == "web" or name in GPUS[app.app]:
            cores = function.resources.milli_cpu // 1000
            told = app.variables(name)
            assert {told["OMP_NUM_THREADS"], told["OPENBLAS_NUM_THREADS"]} == {str(cores)}


def test_a_server_that_holds_whole_recordings_has_memory_for_them(
    apps: Mapping[str, Deployed],
) -> None:
    memory = {name: app.functions["web"].resources.memory_mb for name, app in apps.items()}
    diarizer = memory.pop("reflector-diarizer")
    assert set(memory.values()) == {2048}
    # Two of six hours at once, as samples and pickled.
    assert diarizer >= 2048 + 2 * 2 * 6 * 3600 * 16_000 * 2 / 1e6


def test_what_is_about_this_machine_its_models_or_secret_stays_here() -> None:
    stays = {
        "REFLECTOR_APIKEY": SECRET,
        "REFLECTOR_LLM_API_KEY": SECRET,
        "HF_TOKEN": SECRET,
        "REFLECTOR_PROFILE": "gpu",
        "REFLECTOR_WORKERS": "8",
        "REFLECTOR_MODEL": "mine",
        "REFLECTOR_MODEL_PATHS": '{"mine": "/home/me/mine"}',
        "REFLECTOR_TRUSTED_NETWORKS": "10.0.0.0/8",
        "REFLECTOR_TRUSTED_PROXIES": "10.0.0.1",
        "REFLECTOR_MODEL_ALIASES": '{"ours": "mine"}',
        "REFLECTOR_AUTO_MODELS": "mine",
        "REFLECTOR_DIARIZER": "ours",
        "REFLECTOR_TRANSLATOR": "/home/me/translator",
        "REFLECTOR_LLM_ENGINE": "ctranslate2",
        "reflector_llm_model": "/home/me/llm",
        "REFLECTOR_LLM_BASE_URL": "http://127.0.0.1:8080/v1",
        "PATH": "/bin",
    }
    goes = {
        "REFLECTOR_MODAL_DIARIZER_MODEL": "bic",
        "REFLECTOR_VAD_THRESHOLD": "0.4",
        "HF_ENDPOINT": "https://mirror.example",
    }
    assert carried({**stays, **goes}) == goes


def test_names_of_settings_count_however_they_are_written() -> None:
    written = {"reflector_vad_threshold": "0.4", "Reflector_Modal_Region": "eu", "hf_endpoint": "m"}
    assert carried(written) == {name.upper(): value for name, value in written.items()}


@pytest.mark.parametrize("name", sorted(TRANSCRIBERS))
def test_uploads_share_containers_and_files_spread_over_them(
    apps: Mapping[str, Deployed], name: str
) -> None:
    found = engines(apps[name])
    live, file = found["Live.*"], found["File.*"]
    assert live.max_concurrent_inputs == 10
    assert file.max_concurrent_inputs == 0  # one at a time
    assert live.autoscaler_settings.max_containers == 4
    assert file.autoscaler_settings.max_containers == 10
    assert live.autoscaler_settings.scaledown_window > file.autoscaler_settings.scaledown_window


def test_engines_start_from_snapshots_and_find_their_weights_in_the_volume(
    with_engine: Deployed,
) -> None:
    app = with_engine
    (volume,) = app.plane.asked["VolumeGetOrCreate"][:1]
    assert volume.deployment_name == "reflector-models"
    assert volume.version == api.VOLUME_FS_VERSION_V2
    for one in engines(app).values():
        assert one.checkpointing_enabled
        assert not one.experimental_options
        assert [mount.mount_path for mount in one.volume_mounts] == ["/models"]
    assert [m.mount_path for m in app.functions["pull"].volume_mounts] == ["/models"]


def test_padding_has_neither_an_engine_nor_weights(apps: Mapping[str, Deployed]) -> None:
    app = apps["reflector-padding"]
    assert set(app.functions) == {"web"}
    assert "VolumeGetOrCreate" not in app.plane.asked
    for library in ("ctranslate2", "faster-whisper", "onnxruntime-gpu", "nvidia"):
        assert library not in app.commands


def test_the_gpu_libraries_match_the_engine(with_engine: Deployed) -> None:
    app = with_engine
    for library in LIBRARIES[app.app]:
        assert f"{library}==" in app.commands
    with_cuda_13 = "onnxruntime-gpu" in app.commands
    assert with_cuda_13 != ("nvidia-cublas-cu12" in app.commands)


def test_every_package_is_pinned_and_from_no_address(app: Deployed) -> None:
    installs = [line for line in app.commands.splitlines() if "uv pip install" in line]
    assert installs
    for line in installs:
        _, constrained, packages = line.partition(" --constraint /constraints.txt ")
        assert constrained
        assert all("==" in package for package in packages.split())
        assert "://" not in line


def test_containers_see_every_file_of_the_package(app: Deployed) -> None:
    package = Path(reflector_gpu.__file__).parent
    files = {
        str(ROOT_DIR / path.relative_to(package.parent))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert str(ROOT_DIR / "reflector_gpu/audio/silero_vad.onnx") in files
    assert files <= set(app.mounted)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """The transcriber once more, with other settings and a line of its source added."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in ("src", "modal_deployments"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, checkout / name, ignore=ignored)
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, checkout)
    edited = checkout / "src" / "reflector_gpu" / "engines" / "recognition" / "scripted.py"
    edited.write_text(edited.read_text() + "\n# another line\n")
    environment = {
        "REFLECTOR_MODAL_LIVE_GPU": "H100",
        "REFLECTOR_MODAL_FILE_GPU": "none",
        "REFLECTOR_MODAL_GPU_SNAPSHOT": "true",
        "REFLECTOR_MODAL_FILE_FAN_OUT": "7",
        "REFLECTOR_MODAL_LIVE_WINDOW": "30",
        "REFLECTOR_MODAL_MIN_CONTAINERS": "1",
        "REFLECTOR_MODAL_REGION": "eu-west",
        "REFLECTOR_VAD_THRESHOLD": "0.4",
        "REFLECTOR_LIVE_REQUESTS": "16",
        "REFLECTOR_REQUEST_SECONDS": "600.5",
        "REFLECTOR_PROFILE": "gpu",
        "REFLECTOR_APIKEY": SECRET,
        "REFLECTOR_LLM_API_KEY": SECRET,
    }
    file = checkout / "modal_deployments" / "reflector_transcriber.py"
    return deploy(file, environment=environment)


def test_an_edit_of_the_source_builds_nothing(
    apps: Mapping[str, Deployed], changed: Deployed
) -> None:
    before = apps["reflector-transcriber"]
    assert changed.images == before.images
    inside = str(ROOT_DIR / "reflector_gpu/engines/recognition/scripted.py")
    assert changed.mounted[inside] != before.mounted[inside]


def test_settings_are_read_when_it_is_deployed(changed: Deployed) -> None:
    live, file = engines(changed)["Live.*"], engines(changed)["File.*"]
    assert live.resources.gpu_config.gpu_type == "H100"
    assert dict(live.experimental_options) == {"enable_gpu_snapshot": "True"}
    assert not file.resources.gpu_config.gpu_type
    assert not file.experimental_options
    assert live.autoscaler_settings.scaledown_window == 30
    assert live.autoscaler_settings.min_containers == 1
    assert list(live.scheduler_placement.regions) == ["eu-west"]


def test_a_web_container_takes_in_what_its_server_does(
    apps: Mapping[str, Deployed], changed: Deployed
) -> None:
    web = apps["reflector-transcriber"].functions["web"]
    assert (web.max_concurrent_inputs, web.timeout_secs) == (64, 12 * 3600)
    web = changed.functions["web"]
    assert (web.max_concurrent_inputs, web.timeout_secs) == (16, 601)


def test_settings_reach_the_containers_and_keys_do_not(changed: Deployed) -> None:
    asked = changed.plane.asked["SecretGetOrCreate"]
    carried = [dict(one.env_dict) for one in asked if one.env_dict]
    assert carried
    for variables in carried:
        assert variables["REFLECTOR_MODAL_FILE_FAN_OUT"] == "7"
        assert variables["REFLECTOR_VAD_THRESHOLD"] == "0.4"
        assert SECRET not in variables.values()


def test_the_settings_are_in_the_readme() -> None:
    told = (FOLDER / "README.md").read_text()
    for name, field in ModalSettings.model_fields.items():
        default = f"`{field.default}`" if field.default != "" else ""
        row = f"| `REFLECTOR_MODAL_{name.upper()}` | {default} | {field.description} |"
        assert row.replace("|  |", "| |") in told


EXTRAS = {
    model.extra
    for models in (MODELS, DIARIZERS.models, TRANSLATORS.models)
    for model in models.values()
}


@pytest.mark.parametrize("extra", sorted({extra for extra in EXTRAS if extra} | {"llm"}))
def test_every_engine_has_its_packages_and_their_versions(extra: str) -> None:
    constraints = (ROOT / "constraints.txt").read_text()
    packages = pinned(requirements(extra), constraints)
    assert packages
    assert all("==" in package for package in packages)


def test_a_package_without_a_version_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"no version of some\.thing"):
        pinned(["some.thing[extra]"], "other==1.0\n")
    assert pinned(["Some_Thing[extra]"], "some.thing==1.0\n") == ["Some_Thing[extra]==1.0"]
