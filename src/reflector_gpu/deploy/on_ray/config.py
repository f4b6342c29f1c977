"""Configurations for Serve and for KubeRay, made from the settings. Ray is not needed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reflector_gpu.deploy.deployment_settings import carried
from reflector_gpu.deploy.on_ray.options import (
    APPLICATION,
    ENVIRONMENT,
    SERVER,
    SHARED,
    Options,
    chosen,
    deployments,
)
from reflector_gpu.deploy.on_ray.settings import PREFIX, load_ray_settings
from reflector_gpu.settings import load_settings, variables

_MODULE = "reflector_gpu.deploy.ray_app"
RAY_VERSION = "2.60.0"
SECRET = "reflector-gpu"  # noqa: S105  a name

_PORT = 8000
_PORTS = {"serve": _PORT}
_HEAD_PORTS = {"gcs-server": 6379, "dashboard": 8265, "client": 10001, **_PORTS}
"""KubeRay looks for these by their names. It knows them by itself only if none is declared."""

_SECRETS = ("apikey", "llm_api_key", "database_url", "speaker_store_key")
_LEFT_OUT = {
    *_SECRETS,
    "host",
    "port",
    "wyoming",
    "trusted_networks",
    "trusted_proxies",
    "workers",
    "spool_dir",
}
"""Settings that are secret, or that mean nothing on a cluster."""

_HEAD = """\
# The application on Ray Serve: serve deploy serve.yaml
# Secrets are not in this file. Set them on every node before Ray starts there: {secrets}.
# docs/ray.md says how large a cluster has to be, and how to update or stop it.
"""

_KUBERNETES = """\
# The application on KubeRay: kubectl apply -f rayservice.yaml
# Its secrets are in the secret that the pods name: kubectl create secret generic {secret} \\
#   --from-literal=REFLECTOR_APIKEY=... ({secrets})
"""


def serve_config() -> str:
    """What ``serve deploy`` takes.

    Raises:
        ReflectorError: a setting does not work on a cluster.
    """
    return _HEAD.format(secrets=_secrets()) + yaml(_applications())


def kubernetes_config(image: str) -> str:
    """A ``RayService`` whose pods run ``image``.

    Raises:
        ReflectorError: as `serve_config`.
    """
    applications = _applications()
    service = {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": APPLICATION},
        "spec": {
            "serveConfigV2": yaml(applications),
            "rayClusterConfig": {
                "rayVersion": RAY_VERSION,
                "enableInTreeAutoscaling": True,
                "authOptions": {"mode": "token"},
                "headGroupSpec": {
                    "rayStartParams": {"num-cpus": "0"},  # replicas have nodes of their own
                    "template": _pod(
                        "ray-head", image, cpus=2.0, gpus=0, gigabytes=8, ports=_HEAD_PORTS
                    ),
                },
                "workerGroupSpecs": _groups(applications, image),
            },
        },
    }
    head = _KUBERNETES.format(secret=SECRET, secrets=_secrets())
    return head + yaml(service)


def _applications() -> dict[str, Any]:
    settings, given = load_settings(), load_ray_settings()
    options = dict(deployments(chosen(None, settings), settings, given))
    options.pop(SHARED, None)  # the keys of the nodes decide whether it is there
    server = {"name": SERVER, **options.pop(SERVER)}
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "0.0.0.0", "port": _PORT},  # noqa: S104  clients are elsewhere
        "applications": [
            _application(APPLICATION, "/", "app", {"engines": [*options]}, server),
            *(
                _application(name, None, "engine", {"engine": name}, {"name": name, **one})
                for name, one in options.items()
            ),
        ],
    }


def _application(
    name: str, route: str | None, function: str, args: Mapping[str, Any], deployment: Options
) -> dict[str, Any]:
    return {
        "name": name,
        "route_prefix": route,
        "import_path": f"{_MODULE}:{function}",
        "args": args,
        "runtime_env": {"env_vars": carried(PREFIX, _LEFT_OUT)},
        "deployments": [deployment],
    }


def _groups(applications: Mapping[str, Any], image: str) -> list[dict[str, Any]]:
    """Nodes for servers and engines on CPUs, and nodes with a GPU if engines need any."""
    found = [each for one in applications["applications"] for each in one["deployments"]]
    on_gpus = [each for each in found if _gpus(each)]
    on_cpus = [each for each in found if not _gpus(each)]
    groups = [_group("cpu", on_cpus, _pod("worker", image, cpus=4.0, gpus=0, gigabytes=16))]
    if on_gpus:
        gpus = _pod("worker", image, cpus=4.0, gpus=1, gigabytes=24)
        groups.append(_group("gpu", on_gpus, gpus))
    return groups


def _group(name: str, found: Sequence[Options], pod: dict[str, Any]) -> dict[str, Any]:
    """Enough nodes of four cores, and one GPU at most, for the replicas of what was ``found``."""

    def nodes(count: str) -> int:
        replicas = [(one, one["autoscaling_config"][count]) for one in found if _scales(one)]
        cores = sum(number * one["ray_actor_options"]["num_cpus"] for one, number in replicas)
        gpus = sum(number * _gpus(one) for one, number in replicas)
        return max(1, -int(-cores // 4), -int(-gpus // 1))

    least = nodes("min_replicas")
    return {
        "groupName": name,
        "replicas": least,
        "minReplicas": least,
        "maxReplicas": nodes("max_replicas"),
        "rayStartParams": {},
        "template": pod,
    }


def _scales(deployment: Options) -> bool:
    return "autoscaling_config" in deployment


def _gpus(deployment: Options) -> float:
    return float(deployment["ray_actor_options"].get("num_gpus", 0))


def _pod(
    name: str,
    image: str,
    *,
    cpus: float,
    gpus: int,
    gigabytes: int,
    ports: Mapping[str, int] = _PORTS,
) -> dict[str, Any]:
    size: dict[str, Any] = {"cpu": cpus, "memory": f"{gigabytes}Gi"}
    if gpus:
        size["nvidia.com/gpu"] = gpus
    container = {
        "name": name,
        "image": image,
        "env": [{"name": name, "value": value} for name, value in ENVIRONMENT.items()],
        "envFrom": [{"secretRef": {"name": SECRET}}],
        "ports": [{"containerPort": port, "name": one} for one, port in ports.items()],
        "resources": {"requests": size, "limits": size},
    }
    return {"spec": {"containers": [container]}}


def _secrets() -> str:
    return ", ".join(variables(name)[0] for name in _SECRETS)


def yaml(value: Mapping[str, Any]) -> str:
    """``value`` as YAML. PyYAML comes with Ray, which need not be here."""
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: Any) -> Iterator[str]:
    """The lines of a mapping or a list that is not empty, or the one line of anything else."""
    if isinstance(value, Mapping) and value:
        for key, one in value.items():
            yield from _entry(f"{key}:", one)
    elif isinstance(value, list) and value:
        for one in value:
            first, *others = _lines(one)
            yield f"- {first}"
            yield from (f"  {line}" for line in others)
    else:
        yield json.dumps(value)


def _entry(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, str) and "\n" in value:
        yield f"{key} |"
        yield from (f"  {line}" for line in value.splitlines())
    elif isinstance(value, Mapping | list) and value:
        yield key
        yield from (f"  {line}" for line in _lines(value))
    else:
        yield f"{key} {json.dumps(value)}"
