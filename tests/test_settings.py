"""Where a setting's value is from, and what is said when it does not work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from pydantic import SecretStr

from manual import settings_page
from reflector_gpu.errors import ConfigurationError
from reflector_gpu.profiles import PROFILES
from reflector_gpu.setting_types import Device, WeightsSource
from reflector_gpu.settings import (
    Settings,
    load_settings,
    origins,
    variables,
)

FIELDS = Settings.model_fields


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("REFLECTOR"):
            monkeypatch.delenv(name)


def test_defaults() -> None:
    settings = load_settings()
    assert (settings.profile, settings.model, settings.host) == ("embedded", "auto", "127.0.0.1")
    assert set(origins(settings).values()) == {"default", "profile embedded"}


LAYERS = ["default", "profile", "environment", "command line"]


@pytest.mark.parametrize("top", LAYERS)
def test_the_highest_layer_wins(top: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``file_requests``: 8 by default, 32 in the profile gpu."""
    height = LAYERS.index(top)
    given: dict[str, object] = {}
    if height >= 1:
        given["profile"] = "gpu"
    if height >= 2:
        monkeypatch.setenv("REFLECTOR_FILE_REQUESTS", "50")
    if height >= 3:
        given["file_requests"] = 60
    settings = load_settings(**given)
    assert settings.file_requests == [8, 32, 50, 60][height]
    origin = ["default", "profile gpu", "REFLECTOR_FILE_REQUESTS", "command line"][height]
    assert origins(settings, **given)["file_requests"] == origin


def test_a_command_line_option_that_was_not_given_overrides_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REFLECTOR_PORT", "9000")
    settings = load_settings(port=None, host=None)
    assert (settings.port, settings.host) == (9000, "127.0.0.1")
    assert origins(settings, port=None)["port"] == "REFLECTOR_PORT"


def test_false_and_zero_on_the_command_line_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLECTOR_PUBLIC_DOCS", "true")
    monkeypatch.setenv("REFLECTOR_PORT", "9000")
    settings = load_settings(public_docs=False, port=0)
    assert (settings.public_docs, settings.port) == (False, 0)


@pytest.mark.parametrize("variable", ["REFLECTOR_PROFILE", "reflector_profile"])
def test_the_profile_may_come_from_the_environment(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "gpu")
    settings = load_settings()
    assert (settings.profile, settings.host) == ("gpu", "0.0.0.0")
    assert origins(settings)["host"] == "profile gpu"
    assert origins(settings)["profile"] == "REFLECTOR_PROFILE"


def test_the_command_lines_profile_beats_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLECTOR_PROFILE", "gpu")
    assert load_settings(profile="cpu").host == "127.0.0.1"


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_set_what_exists_and_fits(name: str) -> None:
    profile = PROFILES[name]  # type: ignore[index]  # a name of PROFILES
    assert set(profile.defaults) <= set(FIELDS)
    assert profile.accuracy
    assert profile.better
    settings = load_settings(profile=name)
    for field, value in profile.defaults.items():
        assert getattr(settings, field) == value


@pytest.mark.parametrize(("profile", "pulls"), [("embedded", False), ("cpu", True), ("gpu", True)])
def test_downloads_are_for_the_profiles_that_need_them(profile: str, pulls: bool) -> None:
    assert load_settings(profile=profile).auto_pull is pulls
    assert not load_settings(profile=profile, auto_pull=False).auto_pull


@pytest.mark.parametrize("field", FIELDS)
def test_every_setting_is_described_and_has_a_variable(field: str) -> None:
    assert FIELDS[field].description
    preferred, *_ = variables(field)
    assert preferred == f"REFLECTOR_{field.upper()}"


def example(field: str) -> tuple[str, object]:
    """What may stand in a setting's variable, and the value that it means."""
    if field == "cors_origins":
        return "https://A.example/ , http://[::1]:8080", ("https://a.example", "http://[::1]:8080")
    if field == "webrtc_address":
        return "2001:DB8::7", "2001:db8::7"
    if field.startswith("trusted_"):
        return " 10.0.0.0/8 , ::1/128,, ", ("10.0.0.0/8", "::1/128")
    kind = FIELDS[field].annotation
    if get_origin(kind) is Literal:
        return get_args(kind)[-1], get_args(kind)[-1]
    known: dict[object, tuple[str, object]] = {
        bool: ("true", True),
        int: ("7", 7),
        int | None: ("7", 7),
        float: ("0.25", 0.25),
        float | None: ("0.25", 0.25),
        str: ("x", "x"),
        SecretStr | None: ("a long secret of mine", SecretStr("a long secret of mine")),
        Path | None: ("/tmp", Path("/tmp")),
        tuple[str, ...]: (" minio , 10.0.0.0/8,, ", ("minio", "10.0.0.0/8")),
        tuple[Device, ...]: ("cpu,cuda:1", ("cpu", "cuda:1")),
        tuple[WeightsSource, ...]: ("index,https://a.example", ("index", "https://a.example")),
        dict[str, str]: ('{"mine": "sphinx"}', {"mine": "sphinx"}),
    }
    return known[kind]


@pytest.mark.parametrize("field", FIELDS)
def test_every_setting_is_read_from_its_variable(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, value = example(field)
    for variable in variables(field):
        with monkeypatch.context() as patch:
            patch.setenv(variable, text)
            settings = load_settings()
            assert getattr(settings, field) == value
            assert origins(settings)[field] == variable


@pytest.mark.parametrize("field", FIELDS)
def test_every_setting_is_taken_from_the_command_line(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A JSON object has to be one even where it is overridden.
    nonsense = "{}" if FIELDS[field].annotation == dict[str, str] else "nonsense"
    monkeypatch.setenv(variables(field)[-1], nonsense)
    _, value = example(field)
    settings = load_settings(**{field: value})
    assert getattr(settings, field) == value
    assert origins(settings, **{field: value})[field] == "command line"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REFLECTOR_PORT", "http"),
        ("REFLECTOR_PORT", "65536"),
        ("REFLECTOR_WORKERS", "-1"),
        ("REFLECTOR_MAX_UPLOAD_MB", "0"),
        ("REFLECTOR_VAD_THRESHOLD", "1"),
        ("REFLECTOR_INSECURE", "perhaps"),
        ("REFLECTOR_DEVICES", "gpu"),
        ("REFLECTOR_DEVICES", "cpu,cuda:first"),
        ("REFLECTOR_WEIGHTS_SOURCES", "ftp://mirror"),
        ("REFLECTOR_DEVICES", ","),
        ("REFLECTOR_LOG_LEVEL", "loud"),
        ("REFLECTOR_LOG_FORMAT", "xml"),
        ("REFLECTOR_PROFILE", "tpu"),
        ("REFLECTOR_MODEL_ALIASES", "not json"),
        ("REFLECTOR_MODEL_ALIASES", "[1]"),
        ("REFLECTOR_MODEL_ALIASES", '{"a": 1}'),
        ("REFLECTOR_SPOOL_DIR", "/no/such/folder"),
    ],
)
def test_what_does_not_fit_is_told_by_its_variable(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as failure:
        load_settings()
    assert variable in failure.value.message.split(":")[0]


def test_all_that_does_not_fit_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLECTOR_PORT", "http")
    monkeypatch.setenv("REFLECTOR_WORKERS", "many")
    with pytest.raises(ConfigurationError) as failure:
        load_settings(max_files=0)
    lines = failure.value.message.splitlines()
    assert sorted(line.split(":")[0] for line in lines) == [
        "REFLECTOR_MAX_FILES",
        "REFLECTOR_PORT",
        "REFLECTOR_WORKERS",
    ]


def test_an_unknown_profile_is_told_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="embedded, cpu, gpu"):
        load_settings(profile="tpu")


SECRET = "s3cr3t-one"


@pytest.mark.parametrize("variable", ["REFLECTOR_APIKEY", "REFLECTOR_GPU_APIKEY"])
def test_keys_are_never_shown(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, f" {SECRET} , two,, ")
    settings = load_settings()
    assert settings.keys == (SECRET, "two")
    for shown in (repr(settings), str(settings), str(settings.model_dump())):
        assert SECRET not in shown
    assert SECRET not in settings.model_dump_json()


def test_keys_are_not_shown_in_errors_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLECTOR_APIKEY", SECRET)
    monkeypatch.setenv("REFLECTOR_PORT", SECRET)
    with pytest.raises(ConfigurationError) as failure:
        load_settings(apikey=7)
    assert SECRET not in str(failure.value)
    assert failure.value.__cause__ is None


def test_the_preferred_variable_of_two_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLECTOR_GPU_APIKEY", "alias")
    monkeypatch.setenv("REFLECTOR_APIKEY", "preferred")
    settings = load_settings()
    assert settings.keys == ("preferred",)
    assert origins(settings)["apikey"] == "REFLECTOR_APIKEY"
    assert load_settings(apikey="given").keys == ("given",)


def test_no_keys() -> None:
    assert load_settings().keys == ()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_loopback_needs_no_key(host: str) -> None:
    settings = load_settings(host=host)
    assert settings.loopback
    settings.check_exposed()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "127.0.0.1.evil", ""])
def test_anything_else_needs_a_key_or_to_be_told(host: str) -> None:
    with pytest.raises(ConfigurationError, match="--insecure"):
        load_settings(host=host).check_exposed()
    load_settings(host=host, apikey="k").check_exposed()
    load_settings(host=host, insecure=True).check_exposed()


def test_a_spool_folder_has_to_be_one_that_can_be_written_to(tmp_path: Path) -> None:
    assert load_settings(spool_dir=tmp_path).spool_dir == tmp_path
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigurationError, match="REFLECTOR_SPOOL_DIR"):
        load_settings(spool_dir=file)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLECTOR_APIKEY", "")
    monkeypatch.setenv("REFLECTOR_GPU_APIKEY", "real")
    settings = load_settings()
    assert settings.keys == ("real",)
    assert origins(settings)["apikey"] == "REFLECTOR_GPU_APIKEY"


def test_a_key_variable_without_a_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLECTOR_APIKEY", " , ")
    with pytest.raises(ConfigurationError, match=r"REFLECTOR_APIKEY: .*holds no key"):
        load_settings()


@pytest.mark.parametrize("name", ["trusted_networks", "trusted_proxies"])
def test_networks_between_commas(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"REFLECTOR_{name.upper()}", " 172.18.0.0/16, ::1 ,192.0.2.7,")
    assert getattr(load_settings(), name) == ("172.18.0.0/16", "::1/128", "192.0.2.7/32")


@pytest.mark.parametrize("value", ["172.18.0.1/16", "gpu.internal", "10.0.0.0/8;::1", "*"])
def test_what_is_no_network_is_an_error_that_names_it(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFLECTOR_TRUSTED_NETWORKS", f"127.0.0.1,{value}")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert caught.value.message.startswith("REFLECTOR_TRUSTED_NETWORKS: '")
    assert f"'{value}'" in caught.value.message


@pytest.mark.parametrize(
    "value", ["app.example.org", "https://", "https://a.example/page", "https://*.example", "null"]
)
def test_what_is_no_origin_is_an_error_that_names_it(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFLECTOR_CORS_ORIGINS", f"https://a.example,{value}")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert caught.value.message.startswith("REFLECTOR_CORS_ORIGINS: ")
    assert f"'{value}'" in caught.value.message


@pytest.mark.parametrize("value", ["asr.example.org", "192.0.2.0/24", "192.0.2.7:9000"])
def test_what_is_no_address_is_an_error_that_names_it(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFLECTOR_WEBRTC_ADDRESS", value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert caught.value.message.startswith(f"REFLECTOR_WEBRTC_ADDRESS: '{value}'")


def test_the_page_of_the_settings_is_up_to_date() -> None:
    written = settings_page.FILE.read_text(encoding="utf-8")
    assert written == settings_page.text(), "write it anew: .venv/bin/python -m manual"
