"""``ray config`` and ``ray up``."""

from __future__ import annotations

import sys

from reflector_gpu.deploy import ray_config
from reflector_gpu.errors import ConfigurationError
from reflector_gpu.settings import load_settings


def config(*, kubernetes: bool, image: str | None) -> None:
    """Print a configuration.

    Raises:
        ReflectorError: a setting does not work on a cluster.
    """
    if image and not kubernetes:
        raise ConfigurationError("--image is of pods; it goes with --kubernetes.")
    if kubernetes:
        text = ray_config.kubernetes_config(image or ray_config.default_image())
    else:
        text = ray_config.serve_config()
    sys.stdout.write(text)
    _say_what_is_missing()


def run(host: str, port: int) -> None:
    """Serve on a cluster of this machine until a signal says stop.

    Raises:
        ReflectorError: Ray is not installed, or a setting does not work.
    """
    try:
        from reflector_gpu.deploy import ray_local
    except ImportError:
        raise ConfigurationError(
            "This needs the extra 'ray': pip install 'reflector-gpu[ray]'"
        ) from None
    _say_what_is_missing()
    ray_local.run(host, port)


def _say_what_is_missing() -> None:
    if load_settings().data_dir is None:
        sys.stderr.write(
            "There will be no jobs: they need REFLECTOR_DATABASE_URL, a PostgreSQL, and "
            "REFLECTOR_DATA_DIR, a folder that all nodes share.\n"
        )
