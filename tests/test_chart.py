"""The Helm chart makes what Kubernetes takes, and the workflows call what there is.

`make test-images` installs Helm's library and Kubernetes' schemas; without them these are skipped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from reflector_gpu.api.app import create_app
from reflector_gpu.api.routes.operations import HEALTH
from reflector_gpu.settings import Settings, load_settings, variables
from tests.conftest import ROOT

CHART = ROOT / "charts" / "reflector-gpu"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

VARIABLES = {variable for name in Settings.model_fields for variable in variables(name)}

SEVERAL: Mapping[str, Any] = {
    "apikey": "change-me",
    "gpus": 1,
    "autoscaling": {"enabled": True},
    "models": {"accessMode": "ReadWriteMany"},
    "data": {"enabled": True, "accessMode": "ReadWriteMany"},
    "secretVariables": ["database"],
    "settings": {"REFLECTOR_MODEL": "base"},
    "ingress": {"enabled": True, "host": "speech.example.com", "tlsSecret": "certificate"},
}
"""A chart with everything that comes with Kubernetes itself."""


def rendered(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The manifests that Helm makes of ``values``, by kind and name."""
    helm = pytest.importorskip("helm_python", reason="make test-images installs it")
    found: dict[str, dict[str, Any]] = {}
    with helm.Chart.load(CHART) as chart:
        for file, text in chart.render(values=dict(values), name="demo").items():
            if not file.endswith(".txt"):
                for manifest in filter(None, yaml.safe_load_all(text)):
                    found[f"{manifest['kind']}/{manifest['metadata']['name']}"] = manifest
    return found


def container(manifests: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    pod = manifests["Deployment/demo-reflector-gpu"]["spec"]["template"]["spec"]
    [found] = pod["containers"]
    return dict(found)


def test_helm_lint_finds_no_error() -> None:
    helm = pytest.importorskip("helm_python", reason="make test-images installs it")
    found = helm.chart.lint(CHART, values={"apikey": "change-me"})
    assert not found["errors"]
    assert {message["error"] for message in found["messages"]} <= {"icon is recommended"}


@pytest.mark.parametrize("values", [{"apikey": "change-me"}, SEVERAL], ids=["one", "several"])
def test_kubernetes_takes_every_manifest(values: Mapping[str, Any]) -> None:
    kubernetes = pytest.importorskip("kubernetes_validate", reason="make test-images installs it")
    manifests = rendered(values)
    assert len(manifests) >= 5
    for manifest in manifests.values():
        for version in ("1.30", kubernetes.latest_version()):
            kubernetes.validate(manifest, version, strict=True)


def test_the_probes_ask_the_server() -> None:
    found = container(rendered(SEVERAL))
    assert found["ports"] == [{"name": "http", "containerPort": load_settings().port}]
    probes = [found[name]["httpGet"] for name in ("startupProbe", "readinessProbe")]
    assert {probe["path"] for probe in probes} == {"/health/ready"} < set(HEALTH)
    assert found["livenessProbe"]["httpGet"]["path"] == "/health/live" in HEALTH


def test_a_pod_has_no_rights_and_reads_the_key_from_a_secret() -> None:
    manifests = rendered(SEVERAL)
    found = container(manifests)
    assert found["securityContext"]["readOnlyRootFilesystem"]
    assert found["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    variables = {one["name"]: one for one in found["env"]}
    reference = variables["REFLECTOR_APIKEY"]["valueFrom"]["secretKeyRef"]
    secret = manifests[f"Secret/{reference['name']}"]
    assert secret["stringData"][reference["key"]] == "change-me"
    assert variables["REFLECTOR_MODEL"]["value"] == "base"
    user = re.search(r"^USER (\d+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    pod = manifests["Deployment/demo-reflector-gpu"]["spec"]["template"]["spec"]
    assert user is not None
    assert pod["securityContext"]["runAsUser"] == int(user[1])


def blocks_of_guide(beginning: str) -> list[str]:
    guide = (ROOT / "docs" / "kubernetes.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if block.startswith(beginning)]


def test_the_ingress_leads_to_the_service() -> None:
    [values] = map(yaml.safe_load, blocks_of_guide("ingress:"))
    manifests = rendered({"apikey": "change-me", **values})
    ingress = manifests["Ingress/demo-reflector-gpu"]
    [rule] = ingress["spec"]["rules"]
    [path] = rule["http"]["paths"]
    service = manifests[f"Service/{path['backend']['service']['name']}"]
    ports = [port["name"] for port in service["spec"]["ports"]]
    assert path["backend"]["service"]["port"]["name"] in ports
    assert (rule["host"], path["path"]) == ("speech.example.com", "/")
    assert ingress["spec"]["tls"] == [
        {"hosts": ["speech.example.com"], "secretName": "speech-example-com"}
    ]
    assert set(values["settings"]) <= VARIABLES
    assert not any(name.startswith("Ingress/") for name in rendered({"apikey": "change-me"}))


def test_the_schema_knows_every_value() -> None:
    """And demands nothing of those that are left as they are."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    jsonschema.validate(values, schema)
    from_a_parent = {"global", "enabled"}
    assert set(values) == set(schema["properties"]) - from_a_parent
    for name, part in schema["properties"].items():
        if "properties" in part and name != "resources":
            assert set(values[name]) == set(part["properties"]), name


@pytest.mark.parametrize(
    ("values", "strategy"),
    [
        ({}, {"type": "Recreate"}),
        ({"models": {"persistent": False}}, None),
        ({"models": {"persistent": False}, "data": {"enabled": True}}, {"type": "Recreate"}),
        ({"models": {"accessMode": "ReadWriteMany"}}, None),
    ],
)
def test_a_new_pod_waits_for_a_volume_that_the_old_one_holds(
    values: Mapping[str, Any], strategy: Mapping[str, str] | None
) -> None:
    manifests = rendered({"apikey": "change-me", **values})
    assert manifests["Deployment/demo-reflector-gpu"]["spec"].get("strategy") == strategy


def test_prometheus_sends_one_of_several_keys() -> None:
    several = {"apikey": "first, second", "serviceMonitor": {"enabled": True}}
    manifests = rendered(several)
    [endpoint] = manifests["ServiceMonitor/demo-reflector-gpu"]["spec"]["endpoints"]
    reference = endpoint["authorization"]["credentials"]
    assert manifests[f"Secret/{reference['name']}"]["stringData"][reference["key"]] == "first"
    own = {"existingSecret": "mine", "serviceMonitor": {"enabled": True, "secretEntry": "one"}}
    [endpoint] = rendered(own)["ServiceMonitor/demo-reflector-gpu"]["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"] == {"name": "mine", "key": "one"}


def test_gpus_take_the_image_for_them() -> None:
    assert container(rendered(SEVERAL))["image"].endswith("-cuda")
    assert container(rendered(SEVERAL))["resources"]["limits"] == {"nvidia.com/gpu": 1}
    assert container(rendered({"apikey": "change-me"}))["image"].endswith("-cpu")


def test_replicas_are_added_by_how_long_requests_wait() -> None:
    manifests = rendered(SEVERAL)
    [metric] = manifests["HorizontalPodAutoscaler/demo-reflector-gpu"]["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    [rule] = blocks_of_guide("rules:")
    [made] = yaml.safe_load(rule)["rules"]
    assert made["name"]["as"] == name
    series = re.match(r"\w+", made["seriesQuery"])
    assert series is not None
    metrics = create_app(load_settings()).state.metrics.render().decode()
    assert f"# TYPE {series[0].removesuffix('_bucket')} histogram" in metrics
    assert "replicas" not in manifests["Deployment/demo-reflector-gpu"]["spec"]
    budget = manifests["PodDisruptionBudget/demo-reflector-gpu"]["spec"]
    assert budget["maxUnavailable"] == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "Clients need a key"),
        ({"apikey": "change-me", "replicas": 2}, "ReadWriteMany"),
        (
            {"apikey": "k", "replicas": 2, "models": {"persistent": False}}
            | {"data": {"enabled": True, "accessMode": "ReadWriteMany"}},
            "REFLECTOR_DATABASE_URL",
        ),
        (
            {"apikey": "k", "replicas": 2, "models": {"persistent": False}}
            | {"data": {"enabled": True}, "secretVariables": ["database"]},
            "data.accessMode to ReadWriteMany",
        ),
        ({"apikey": 12345}, "between quotes"),
        ({"apikey": "k", "ingress": {"enabled": True}}, "ingress.host is the name"),
        (
            {"settings": {"REFLECTOR_TRUSTED_NETWORKS": "10.0.0.0/8"}}
            | {"ingress": {"enabled": True, "host": "speech.example.com"}},
            "REFLECTOR_TRUSTED_PROXIES",
        ),
        ({"apikey": "k", "replica": 2}, "replica"),
        ({"apikey": "k", "models": {"size": "20 gigabytes"}}, "size"),
    ],
)
def test_what_would_not_work_is_said(values: Mapping[str, Any], said: str) -> None:
    helm = pytest.importorskip("helm_python", reason="make test-images installs it")
    with pytest.raises(helm.HelmError, match=said):
        rendered(values)


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_calls_what_there_is(file: Path) -> None:
    text = file.read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([\w-]+)", text.replace("Make room", "")):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for job in yaml.safe_load(text)["jobs"].values():
        runs = [step["run"] for step in job["steps"] if "run" in step]
        assert all((ROOT / run).exists() for run in runs if run.startswith("."))
        for target in job.get("strategy", {}).get("matrix", {}).get("target", ()):
            assert f" AS {target}\n" in (ROOT / "Dockerfile").read_text()
