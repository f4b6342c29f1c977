"""The Dockerfile and the compose files name only what there is.

`make test-images` has the linters look at them as well.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from reflector_gpu.api.routes.operations import HEALTH
from reflector_gpu.deploy.on_modal.images import pinned
from reflector_gpu.profiles import PROFILES
from reflector_gpu.settings import Settings, load_settings, variables
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = (ROOT / "constraints.txt").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = sorted(ROOT.glob("compose*.yml"))
VARIABLES = {variable for name in Settings.model_fields for variable in variables(name)}


def instructions() -> Iterator[tuple[str, str]]:
    """Each instruction of the Dockerfile: its name and its arguments, on one line."""
    code = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, code.splitlines()):
        name, _, arguments = line.partition(" ")
        yield name, " ".join(arguments.split())


def given(wanted: str) -> list[str]:
    return [arguments for name, arguments in instructions() if name == wanted]


def environment(stages: Sequence[str] = ("base", "cpu", "cuda")) -> dict[str, str]:
    """The variables that these stages of the Dockerfile set."""
    found: dict[str, str] = {}
    stage = ""
    for name, arguments in instructions():
        if name == "FROM":
            stage = arguments.split()[-1]
        elif name == "ENV" and stage in stages:
            found |= dict(pair.split("=", 1) for pair in arguments.split())
    return found


class Loader(yaml.SafeLoader):  # type: ignore[misc]  # its package has no types
    """Reads compose files: their own tags say how files are merged."""


Loader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))
Loader.add_constructor("!reset", lambda loader, node: None)


def services(file: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.load(file.read_text(), Loader)["services"]
    return found


def ours() -> Iterator[tuple[Path, dict[str, Any]]]:
    """The services of every compose file that run our image."""
    for file in COMPOSE:
        for service in services(file).values():
            if "prom/" not in (image := service.get("image", "")) and "grafana" not in image:
                yield file, service


@pytest.mark.parametrize("extras", [line for line in given("ARG") if line.startswith("EXTRAS=")])
def test_the_extras_of_an_image_exist(extras: str) -> None:
    named = extras.removeprefix("EXTRAS=").split(",")
    assert set(named) <= set(PROJECT["optional-dependencies"])
    script = [sys.executable, str(ROOT / "docker" / "requirements.py"), ",".join(named)]
    with (ROOT / "pyproject.toml").open("rb") as project:
        printed = subprocess.run(script, stdin=project, capture_output=True, text=True, check=True)
    assert set(PROJECT["dependencies"]) < set(printed.stdout.splitlines())
    for name in named:
        assert set(PROJECT["optional-dependencies"][name]) < set(printed.stdout.splitlines())


def test_what_an_image_installs_besides_has_a_version() -> None:
    lines = [line for line in given("RUN") if "pip uninstall" in line]
    [names] = re.findall(r"-c constraints.txt (?!-r)(.+)", " ".join(lines))
    assert pinned(names.replace("'", "").split(), CONSTRAINTS)


def test_the_variables_of_an_image_are_settings() -> None:
    set_here = {name for name in environment() if name.startswith("REFLECTOR_")}
    assert set_here
    assert set_here <= VARIABLES


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_an_image_serves_others_and_wants_a_key(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(("base", target)).items():
        if name.startswith("REFLECTOR_"):
            monkeypatch.setenv(name, value)
    settings = load_settings()
    assert not settings.loopback
    assert not settings.open_to_all
    assert settings.auto_pull, "its weights come when they are needed"
    assert settings.profile in PROFILES
    assert given("EXPOSE") == [str(settings.port)]


def test_an_image_starts_the_server_as_a_user_without_rights() -> None:
    assert given("ENTRYPOINT") == ['["reflector-gpu"]']
    assert "reflector-gpu" in PROJECT["scripts"]
    assert given("CMD") == ['["serve"]']
    assert given("USER") == ["10001:10001", "10001:10001"]
    assert "models pull" in " ".join(given("RUN"))


def test_the_health_check_asks_the_server() -> None:
    [check] = given("HEALTHCHECK")
    assert [path for path in HEALTH if f"{path}'" in check] == ["/health/ready"]
    code = re.findall(r'"([^"]*)"', check)[-1]
    env = {**os.environ, "REFLECTOR_PORT": "1", "http_proxy": "http://proxy.invalid:3128"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=False)
    assert b"Connection refused" in done.stderr


def test_what_is_copied_exists_and_is_sent_to_the_builder() -> None:
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"]
    copied = [line.split()[:-1] for line in given("COPY") if not line.startswith("--from")]
    for name in {name for names in copied for name in names}:
        assert (ROOT / name).exists()
        assert name in sent
    licences = [Path(name).parts[0] for name in PROJECT["license-files"]]
    assert set(licences) <= set(sent), "the wheel has them"


def test_the_compose_files_name_what_there_is() -> None:
    targets = {line.split()[-1] for line in given("FROM")}
    arguments = {line.partition("=")[0] for line in given("ARG")}
    for file, service in ours():
        set_here = {name for name in service.get("environment", ()) if name.startswith("REFLECTOR")}
        assert set_here <= VARIABLES, file
        for port in service.get("ports", ()):
            assert port.startswith(("127.0.0.1:", "${ADDRESS:-127.0.0.1}:")), file
            assert port.endswith(f":{load_settings().port}"), file
        build = service.get("build") or {}
        assert build.get("target", "cpu") in targets, file
        assert set(build.get("args", ())) <= arguments, file


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.name)
def test_what_a_compose_file_mounts_exists(file: Path) -> None:
    kept = yaml.load(file.read_text(), Loader).get("volumes", {})
    for service in services(file).values():
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in kept, mount


@pytest.mark.parametrize("file", ["compose.yml", "compose.reflector.yml"])
def test_a_container_has_no_rights_and_writes_into_volumes_alone(file: str) -> None:
    for service in services(ROOT / file).values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        written = {mount.split(":")[1] for mount in service["volumes"]}
        assert {"/models", "/tmp"} <= written


def test_prometheus_asks_the_service_that_compose_starts() -> None:
    asked = yaml.safe_load((ROOT / "monitoring" / "prometheus.yml").read_text())
    [target] = asked["scrape_configs"][0]["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    assert host in services(ROOT / "compose.yml")
    assert int(port) == load_settings().port
    assert [(ROOT / "monitoring" / Path(rules).name).exists() for rules in asked["rule_files"]] == [
        True
    ]
    assert list((ROOT / "monitoring" / "grafana").glob("*.json")), "the dashboards' folder"
    [monitored] = [one for file, one in ours() if file.name == "compose.monitoring.yml"]
    assert monitored["environment"] == {"REFLECTOR_PUBLIC_METRICS": "true"}


def test_reflector_is_let_in_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """And whoever comes from elsewhere is not."""
    for service in services(ROOT / "compose.reflector.yml").values():
        for name, value in service["environment"].items():
            default = re.fullmatch(r"\$\{\w+:-(.*)\}", value)
            assert default is not None
            monkeypatch.setenv(name, default[1])
        monkeypatch.setenv("REFLECTOR_HOST", "0.0.0.0")
        settings = load_settings()
        settings.check_exposed()
        assert not settings.open_to_all
        assert settings.url_allow == ("garage",)


def _lint(command: Sequence[str], variables: Mapping[str, str] | None = None) -> str:
    tool = Path(sys.executable).parent / command[0]
    if not tool.exists():
        pytest.skip("make test-images installs it")
    env = {**os.environ, **(variables or {})}
    done = subprocess.run(
        [tool, *command[1:]], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_hadolint_finds_nothing() -> None:
    _lint(["hadolint", "Dockerfile"])


SECRETS = {"REFLECTOR_APIKEY": "change-me", "GRAFANA_PASSWORD": "change-me"}


@pytest.mark.parametrize("added", [file for file in COMPOSE if file.name != "compose.yml"])
def test_compose_reads_its_files(added: Path, tmp_path: Path) -> None:
    files = ["-f", "compose.yml", "-f", added.name]
    if added.name == "compose.reflector.yml":  # what Reflector's own says of these services
        theirs = {"build": "gpu", "ports": ["8000:8000"], "volumes": ["cache:/cache"]}
        shutil.copy(added, tmp_path)
        base = tmp_path / "docker-compose.yml"
        base.write_text(
            yaml.safe_dump({"services": {"cpu": theirs}, "volumes": {"cache": None}}),
        )
        files = ["-f", str(base), "-f", str(tmp_path / added.name)]
    merged = yaml.safe_load(_lint(["docker-compose", *files, "config"], SECRETS))
    for service in merged["services"].values():
        assert all(port["host_ip"] == "127.0.0.1" for port in service["ports"])
    if added.name == "compose.reflector.yml":
        assert "build" not in merged["services"]["cpu"]
        assert {v["target"] for v in merged["services"]["cpu"]["volumes"]} == {"/models", "/tmp"}
