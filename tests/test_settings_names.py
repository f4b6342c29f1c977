"""What is said of variables and names that are no settings, and of two spellings of one."""

from __future__ import annotations

import os

import pytest

from reflector_gpu.deploy.on_modal.settings import load_modal_settings
from reflector_gpu.errors import ConfigurationError
from reflector_gpu.settings import (
    load_settings,
    origins,
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("REFLECTOR"):
            monkeypatch.delenv(name)


SECRET = "s3cr3t-one"


# Variables that are no settings


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("REFLECTOR_MODLE", "REFLECTOR_MODEL"),
        ("REFLECTOR_API_KEYS", "REFLECTOR_APIKEY"),
        ("reflector_max_uplaod_mb", "REFLECTOR_MAX_UPLOAD_MB"),
        ("REFLECTOR_LIVEREQUESTS", "REFLECTOR_LIVE_REQUESTS"),
    ],
)
def test_a_misspelled_variable_is_told_the_right_one(
    variable: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "x")
    with pytest.raises(ConfigurationError, match=rf"{variable.upper()}: .*did you mean {meant}\?"):
        load_settings()


def test_a_misspelled_name_is_told_the_right_one() -> None:
    with pytest.raises(ConfigurationError, match=r"modle: .* did you mean model\?"):
        load_settings(modle="sphinx")
    with pytest.raises(ConfigurationError, match="nope: there is no such setting"):
        load_settings(nope=None)


def test_every_variable_that_nobody_knows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLECTOR_COFFEE", SECRET)
    monkeypatch.setenv("REFLECTOR_MODLE", SECRET)
    with pytest.raises(ConfigurationError) as failure:
        load_settings()
    coffee, model = failure.value.message.splitlines()
    assert coffee.startswith("REFLECTOR_COFFEE: there is no such setting; 'reflector-gpu config'")
    assert model.startswith("REFLECTOR_MODLE")
    assert SECRET not in failure.value.message


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REFLECTOR_COFFEE", ""),
        ("REFLECTOR_MODAL_LIVE_GPU", "L4"),
        ("REFLECTOR_BENCH_AUDIO", "/recordings"),
        ("REFLECTORS", "none of ours"),
    ],
)
def test_what_is_nobodys_or_somebody_elses_is_left_alone(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    load_settings()


def test_a_misspelled_variable_of_a_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLECTOR_MODAL_LIFE_GPU", "L4")
    with pytest.raises(ConfigurationError, match=r"did you mean REFLECTOR_MODAL_LIVE_GPU\?"):
        load_modal_settings()


@pytest.mark.parametrize("service", ["REFLECTOR", "REFLECTOR_GPU", "REFLECTOR_GPU_HEADLESS"])
def test_what_kubernetes_says_about_a_service_is_no_setting(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "tcp://10.0.0.1:80"
    for name, value in {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "80",
        "SERVICE_PORT_HTTP": "80",
        "PORT": address,
        "PORT_80_TCP": address,
        "PORT_80_TCP_PROTO": "tcp",
        "PORT_80_TCP_PORT": "80",
        "PORT_80_TCP_ADDR": "10.0.0.1",
    }.items():
        monkeypatch.setenv(f"{service}_{name}", value)
    settings = load_settings()
    assert settings.port == 8000
    assert origins(settings)["port"] == "default"


# Two spellings of the key's variable


def test_both_spellings_of_the_keys_variable_may_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLECTOR_API_KEY", SECRET)
    assert load_settings().keys == (SECRET,)
    monkeypatch.setenv("REFLECTOR_APIKEY", SECRET)
    assert load_settings().keys == (SECRET,)


def test_both_spellings_of_the_keys_variable_may_not_differ(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REFLECTOR_API_KEY", SECRET)
    monkeypatch.setenv("REFLECTOR_APIKEY", "other")
    with pytest.raises(ConfigurationError, match="REFLECTOR_APIKEY and REFLECTOR_API_KEY") as found:
        load_settings()
    assert SECRET not in found.value.message
