"""A cluster on this machine, with the application, for trying out."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import ray
from ray import serve

from reflector_gpu.deploy import ray_app
from reflector_gpu.deploy.on_ray.options import APPLICATION, ENVIRONMENT, chosen, deployments
from reflector_gpu.deploy.on_ray.settings import load_ray_settings
from reflector_gpu.deploy.served import served
from reflector_gpu.settings import load_settings

_OBJECT_STORE_BYTES = 500_000_000


def run(host: str, port: int) -> None:
    """Serve until a signal says stop. Requests in work at that time are answered, unless a second
    SIGINT follows.

    Raises:
        ReflectorError: a setting does not work.
    """
    settings = load_settings()
    options = deployments(chosen(None, settings), settings, load_ray_settings())
    served(1)  # says that there is no key before a cluster starts
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    stop = threading.Event()
    ray.init(
        address="local",
        num_cpus=_cores(options),
        object_store_memory=_OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
    )
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: stop.set())
        serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})
        ray_app.run()
        sys.stderr.write(f"Ready at http://{host}:{port} (Ctrl-C stops it)\n")
        stop.wait()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stderr.write("Waiting for requests in work (Ctrl-C again cuts them off)\n")
        _drain()
    finally:
        serve.shutdown()
        ray.shutdown()


def _drain() -> None:
    """Wait until servers have answered what they have begun, for which they need the engines."""
    with suppress(KeyboardInterrupt):
        while APPLICATION in serve.status().applications:
            with suppress(TimeoutError):  # it waits for a minute at most
                serve.delete(APPLICATION)


def _cores(options: Mapping[str, Mapping[str, Any]]) -> int:
    """Enough for all replicas that there may be."""
    wanted = sum(
        one["autoscaling_config"]["max_replicas"] * one["ray_actor_options"]["num_cpus"]
        for one in options.values()
        if "autoscaling_config" in one
    )
    return int(wanted) + 1
