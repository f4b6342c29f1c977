"""Serve's options for each deployment. Ray is not needed, so any machine can write them down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from reflector_gpu.deploy.on_ray.engines import device_of, engines, name_of, named
from reflector_gpu.deploy.on_ray.settings import RaySettings
from reflector_gpu.engines.base import AnyModel
from reflector_gpu.engines.translation.base import TRANSLATION
from reflector_gpu.errors import ConfigurationError
from reflector_gpu.runtime.limits import UNLIMITED, each_client
from reflector_gpu.settings import Settings
from reflector_gpu.types import Priority

APPLICATION = "reflector-gpu"
"""The application that takes requests.

Each engine is an application of its own, with the name of its deployment. So the servers can end
first, while the engines finish what the servers have begun."""

SERVER = "server"
"""The deployment that takes requests."""

SHARED = "limits"
"""The deployment of what the servers share, which is one actor. Without limits there is none."""

Options: TypeAlias = Mapping[str, Any]

ENVIRONMENT: Mapping[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray reports nothing home
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "2000",
}
"""What Ray finds in its environment.

By default, Serve looks ten times a second what there is to do, and every replica records its
metrics as often, which are exported every ten seconds. That takes more of a core than it is worth.
"""

_BATCHES = 3
"""Batches that a replica has at once: with fewer, the next is not full when one ends."""

_MOST_CALLS = 64  # of one engine by one server and class of requests; a thread waits for each
_MOST_RECORDINGS = 2  # the same, for calls with whole recordings, which are in memory twice
_UNLIMITED = 100_000
_ASK_AGAIN_SECONDS = 0.2
"""How soon a server asks a replica that was full for a place. Two batches keep it busy meanwhile,
and each question takes the CPU of both."""

_CONSTRUCTIONS = 3  # tries to build a replica, until the deployment has failed


def chosen(names: Sequence[str] | None, settings: Settings) -> list[AnyModel]:
    """The models of the deployments with these ``names``, or of the default ones.

    Raises:
        ReflectorError: a setting does not work on a cluster, or a name means no model.
    """
    if settings.data_dir and not settings.database_url:
        raise ConfigurationError(
            "REFLECTOR_DATABASE_URL: jobs on Ray need a PostgreSQL, so that any server can answer "
            "for any job; set it, or unset REFLECTOR_DATA_DIR to do without jobs."
        )
    if names is None:
        return engines(settings)
    return [named(name, settings) for name in names]


def deployments(
    models: Sequence[AnyModel], settings: Settings, given: RaySettings
) -> dict[str, Options]:
    """The options of each deployment by its name, that of the servers first."""
    actor = {"num_cpus": 0}
    shared = {"num_replicas": 1, "ray_actor_options": actor, "max_ongoing_requests": 100}
    return {
        SERVER: server_options(settings, given),
        **({SHARED: shared} if each_client(settings) != UNLIMITED else {}),
        **{name_of(model): engine_options(model, settings, given) for model in models},
    }


def apart(model: AnyModel) -> bool:
    """Whether each item is a call of its own.

    Then the chunks of one recording spread over replicas, where they share batches with those of
    other servers. Texts to translate are too small for that.
    """
    return model.capability is not TRANSLATION


def calls(model: AnyModel, settings: Settings, given: RaySettings) -> dict[Priority, int]:
    """How many calls of ``model`` one server makes at once.

    They are as many as all replicas take, so that batches are full. Those for files leave room for
    those of live requests.
    """
    if model.capability.whole_recordings:
        return dict.fromkeys(Priority, _MOST_RECORDINGS)
    most = min(_MOST_CALLS, ongoing(model, settings, given) * given.most_replicas)
    return {Priority.LIVE: most, Priority.FILE: max(1, most // 2)}


def ongoing(model: AnyModel, settings: Settings, given: RaySettings) -> int:
    """How many calls a replica of ``model`` takes at once."""
    return _BATCHES * _batch(model, settings, given)


def _batch(model: AnyModel, settings: Settings, given: RaySettings) -> int:
    """How many calls make a batch of ``model``."""
    if not apart(model):
        return 1
    on_cpu = device_of(model, settings) == "cpu"
    spec = model.spec.on_cpu(max(1, int(given.cpus))) if on_cpu else model.spec
    return spec.batching.max_items


def server_options(settings: Settings, given: RaySettings) -> Options:
    """Serve's options for the servers.

    Serve refuses no request: our own admission does, which knows how long recordings are.
    """
    return {
        **_alike(given),
        "ray_actor_options": {"num_cpus": given.ingress_cpus},
        "max_ongoing_requests": _UNLIMITED,
        "autoscaling_config": {
            "min_replicas": given.ingresses,
            "max_replicas": max(given.ingresses, given.most_ingresses),
            "target_ongoing_requests": max(1, settings.live_requests // 2),
        },
    }


def engine_options(model: AnyModel, settings: Settings, given: RaySettings) -> Options:
    """Serve's options for the replicas of ``model``."""
    gpus = 0.0 if device_of(model, settings) == "cpu" else given.share_of_gpu(settings)
    return {
        **_alike(given),
        "ray_actor_options": {"num_cpus": given.cpus, "num_gpus": gpus},
        "max_ongoing_requests": ongoing(model, settings, given),
        "max_queued_requests": given.queued,
        "request_router_config": {"initial_backoff_s": _ASK_AGAIN_SECONDS},
        "logging_config": {"enable_access_log": False},  # that of the servers has the requests
        "autoscaling_config": {
            "min_replicas": given.replicas,
            "max_replicas": max(given.replicas, given.most_replicas),
            "target_ongoing_requests": _batch(model, settings, given),
        },
    }


def _alike(given: RaySettings) -> Options:
    spread = {} if given.per_node is None else {"max_replicas_per_node": given.per_node}
    return {
        **spread,
        "health_check_period_s": given.health_seconds,
        "health_check_timeout_s": 6 * given.health_seconds,
        "graceful_shutdown_timeout_s": given.drain_seconds,
        "max_constructor_retry_count": _CONSTRUCTIONS,
    }
