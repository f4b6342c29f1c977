"""A cluster of several nodes on this machine, with the application on it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import httpx
import psutil
import ray
from openai import OpenAI
from ray import serve
from ray.cluster_utils import Cluster

from reflector_gpu.deploy import ray_app
from reflector_gpu.deploy.on_ray.options import APPLICATION, ENVIRONMENT, SERVER
from tests.live import KEY
from tests.waiting import until

NODES = 2

SETTINGS = {
    "REFLECTOR_APIKEY": KEY,
    "REFLECTOR_MODEL": "auto",
    "REFLECTOR_AUTO_MODELS": "sphinx,scripted",
    "REFLECTOR_URL_ALLOW": "127.0.0.1",
    "REFLECTOR_RAY_INGRESS_CPUS": "1",
    "REFLECTOR_RAY_CPUS": "1",
    "REFLECTOR_RAY_REPLICAS": "2",
    "REFLECTOR_RAY_MOST_REPLICAS": "2",
    "REFLECTOR_RAY_MOST_INGRESSES": "2",
    "REFLECTOR_RAY_PER_NODE": "1",
    "REFLECTOR_RAY_HEALTH_SECONDS": "1",
    "REFLECTOR_RAY_DRAIN_SECONDS": "20",
}
"""What every process of the cluster finds in its environment."""

_NODE: dict[str, Any] = {
    "num_cpus": 8,  # to Ray; what runs is small
    "object_store_memory": 100_000_000,
    "include_dashboard": False,
}


class RayCluster:
    """A `Cluster` inside the ``with`` block, and the application. Only its head has a proxy."""

    def __init__(self, settings: Mapping[str, str], nodes: int = NODES) -> None:
        self._count = nodes
        self._settings = {**ENVIRONMENT, **SETTINGS, **settings}
        self._held = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as held:
            self._start(held)
            self._held = held.pop_all()
        return self

    def _start(self, held: ExitStack) -> None:
        """Start everything; ``held`` ends it, whatever fails."""
        folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets need a short path
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        held.enter_context(patch.dict(os.environ, self._settings))
        head = {**_NODE, "temp_dir": folder}
        # A cluster with a folder of its own writes its address into the usual one all the same.
        Path(tempfile.gettempdir(), "ray").mkdir(exist_ok=True)
        self._nodes = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
        held.callback(self._nodes.shutdown)
        self._workers = [self._nodes.add_node(**_NODE) for _ in range(self._count - 1)]
        ray.init(address=self._nodes.address, log_to_driver=False)
        held.callback(ray.shutdown)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        held.callback(serve.shutdown)
        serve.start(proxy_location="HeadOnly", http_options={"port": self._port})
        self.deploy()

    def __exit__(self, *_: object) -> None:
        self._held.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def client(self, key: str | None = KEY) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(
            base_url=self.url, headers=headers, timeout=120, trust_env=False, verify=False
        )

    def openai(self) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key=KEY, max_retries=0)

    def deploy(self, settings: Mapping[str, str] | None = None) -> None:
        """Deploy the application, or update it with further ``settings``, and wait."""
        with patch.dict(os.environ, settings or {}):
            self.keep(ray_app.run())

    def keep(self, applications: Collection[str]) -> None:
        """Delete all others."""
        for name in serve.status().applications.keys() - applications:
            serve.delete(name)

    def replicas(self, deployment: str) -> list[psutil.Process]:
        """The processes of the replicas of a deployment on all nodes."""
        application = APPLICATION if deployment == SERVER else deployment
        return _titled(f"ray::ServeReplica:{application}:{deployment}")

    def servers(self) -> list[psutil.Process]:
        return self.replicas(SERVER)

    def nearest_server(self) -> psutil.Process:
        """The one that the proxy chooses first, because it is on the same node."""
        (proxy,) = _titled("ray::ProxyActor")
        (found,) = [one for one in self.servers() if node_of(one) == node_of(proxy)]
        return found

    def settled(self) -> None:
        """Wait until all replicas run that are wanted."""
        until(lambda: {one.status for one in serve.status().applications.values()} == {"RUNNING"})

    def kill_node(self) -> None:
        """Kill a node that is not the head, with everything that runs there."""
        self._nodes.remove_node(self._workers.pop(), allow_graceful=False)

    def add_node(self) -> None:
        self._workers.append(self._nodes.add_node(**_NODE))


def kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(30)


def engine_of(replica: psutil.Process) -> psutil.Process:
    """The process in which ``replica`` has its engine."""
    (engine,) = [one for one in replica.children() if "spawn_main" in _title(one)]
    return engine


def _titled(beginning: str) -> list[psutil.Process]:
    """The processes of the cluster whose titles begin so."""
    children = psutil.Process().children(recursive=True)
    return [one for one in children if _title(one).startswith(beginning)]


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def node_of(process: psutil.Process) -> int:
    """The process of the node that ``process`` is on."""
    return next(one.pid for one in process.parents() if Path(one.name()).name == "raylet")
