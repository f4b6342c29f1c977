"""What ``ray config`` writes is what Serve takes."""

from __future__ import annotations

import os
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from reflector_gpu.deploy.on_ray.config import kubernetes_config, serve_config
from reflector_gpu.deploy.on_ray.options import (
    SERVER,
    SHARED,
    chosen,
    deployments,
    engine_options,
)
from reflector_gpu.deploy.on_ray.settings import load_ray_settings
from reflector_gpu.deploy.ray_app import app, engine
from reflector_gpu.engines.recognition.catalog import MODELS
from reflector_gpu.errors import ConfigurationError
from reflector_gpu.settings import load_settings
from tests.live import KEY

ENGINES = ["recogniser-sphinx", "diarizer-pyannet"]


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """These settings alone: those of the cluster may be set in this process."""
    for name in [name for name in os.environ if name.startswith("REFLECTOR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("REFLECTOR_MODEL", "sphinx")
    monkeypatch.setenv("REFLECTOR_APIKEY", KEY)


def test_serve_takes_the_configuration_and_the_application_has_its_deployments() -> None:
    config: dict[str, Any] = yaml.safe_load(serve_config())
    server, *engines = ServeDeploySchema.parse_obj(config).applications
    assert [one.name for one in server.deployments] == [SERVER]
    assert server.args == {"engines": ENGINES}
    assert app(server.args)
    for name, application in zip(ENGINES, engines, strict=True):
        assert [one.name for one in application.deployments] == [name] == [application.name]
        assert engine(application.args)
    assert KEY not in serve_config()


def test_the_rayservice_has_the_same_configuration() -> None:
    service = yaml.safe_load(kubernetes_config("mine:1"))
    assert service["kind"] == "RayService"
    assert yaml.safe_load(service["spec"]["serveConfigV2"]) == yaml.safe_load(serve_config())


def test_an_engine_that_the_settings_do_not_name_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="recogniser-whisper"):
        app({"engines": ["recogniser-whisper"]})
    with pytest.raises(ConfigurationError, match="recogniser-whisper"):
        engine({"engine": "recogniser-whisper"})


def test_a_cluster_without_a_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REFLECTOR_APIKEY")
    with pytest.raises(ConfigurationError, match=r"set REFLECTOR_APIKEY\.$"):
        app()


@pytest.mark.parametrize(("keys", "there"), [(KEY, False), (f"{KEY},other", True)])
def test_servers_share_the_limits_of_clients_where_there_are_several(
    monkeypatch: pytest.MonkeyPatch, keys: str, there: bool
) -> None:
    monkeypatch.setenv("REFLECTOR_APIKEY", keys)
    settings = load_settings()
    found = deployments(chosen(None, settings), settings, load_ray_settings())
    assert (SHARED in found) is there
    assert app()


def test_a_replica_has_three_batches_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a batch is depends on where the engine runs."""
    monkeypatch.setenv("REFLECTOR_MODEL", "base")
    for device, batch in (("cpu", 1), ("cuda", MODELS["base"].spec.max_batch)):
        monkeypatch.setenv("REFLECTOR_DEVICES", device)
        options = engine_options(MODELS["base"], load_settings(), load_ray_settings())
        assert options["max_ongoing_requests"] == 3 * batch
        assert options["autoscaling_config"]["target_ongoing_requests"] == batch
