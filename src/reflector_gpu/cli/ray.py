"""``ray config`` and ``ray up``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from reflector_gpu.deploy.on_ray.config import kubernetes_config, serve_config
from reflector_gpu.errors import ConfigurationError
from reflector_gpu.settings import load_settings

if TYPE_CHECKING:
    from reflector_gpu.cli.output_formats import OutputFormat
    from reflector_gpu.transcriber import Options


def config(image: str | None) -> None:
    """Print a configuration of Serve, or that of KubeRay if there is an ``image`` for its pods.

    Raises:
        ReflectorError: a setting does not work on a cluster.
    """
    text = kubernetes_config(image) if image else serve_config()
    sys.stdout.write(text)
    _say_what_is_missing()


def run(host: str, port: int) -> None:
    """Serve on a cluster of this machine until a signal says stop.

    Raises:
        ReflectorError: Ray is not installed, or a setting does not work.
    """
    with _needs_ray():
        from reflector_gpu.deploy.on_ray import local
    _say_what_is_missing()
    local.run(host, port)


def batch(
    folder: Path,
    out: Path,
    form: OutputFormat,
    options: Mapping[str, object],
    actors: int,
    address: str | None,
) -> int:
    """Transcribe a folder; the exit status.

    Raises:
        ReflectorError: Ray is not installed, there is no such folder, or an option does not fit.
    """
    with _needs_ray():
        from reflector_gpu.cli import ray_batch
    return ray_batch.run(folder, out, form, cast("Options", options), actors, address)


@contextmanager
def _needs_ray() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            "This needs the extra 'ray': pip install 'reflector-gpu[ray]'"
        ) from error


def _say_what_is_missing() -> None:
    if load_settings().database_url is None:
        sys.stderr.write(
            "There will be no jobs: they need a PostgreSQL (REFLECTOR_DATABASE_URL).\n"
        )
