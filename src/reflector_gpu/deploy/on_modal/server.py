"""The server as a web function on Modal; an app without an engine consists of nothing else."""

from __future__ import annotations

import math
from typing import Any

import modal
from fastapi import FastAPI

from reflector_gpu.api.app import create_app
from reflector_gpu.deploy.on_modal.images import image
from reflector_gpu.deploy.on_modal.settings import carried, load_modal_settings
from reflector_gpu.deploy.served import served
from reflector_gpu.errors import ConfigurationError
from reflector_gpu.runtime.placement import Placement
from reflector_gpu.settings import Settings, load_settings

SECRET = "reflector-gpu"  # noqa: S105  a name
KEY_VARIABLE = "REFLECTOR_APIKEY"
DATABASE_VARIABLE = "REFLECTOR_DATABASE_URL"

MODELS = "/models"
"""Where the volume with the weights is mounted."""

WEB_CORES = 2
"""Cores that the server gets, of many more."""

_WEB_MEGABYTES = 2048
_LONGEST_SECONDS = 24 * 3600  # of a function on Modal


class ServerDeployment:
    """One app: its name, and the arguments of Modal's decorators."""

    def __init__(self, name: str) -> None:
        """
        Raises:
            ConfigurationError
        """
        self.name = name
        self.settings = given = load_modal_settings()
        if given.web_min_containers > given.web_containers:
            raise ConfigurationError(
                f"REFLECTOR_MODAL_WEB_MIN_CONTAINERS: {given.web_min_containers} are more than the "
                f"{given.web_containers} that an app may have."
            )
        # The server reads the carried settings, of which this machine's profile is none.
        self._served = load_settings(profile=Settings.model_fields["profile"].default)

    @property
    def title(self) -> str:
        """The deployment in words."""
        return self.name

    @property
    def fetches_weights(self) -> bool:
        """Whether weights have to be fetched into the volume."""
        return False

    @property
    def needs_hub_token(self) -> bool:
        """Whether only those who accepted their terms may have the weights."""
        return False

    @property
    def folder(self) -> str | None:
        """The folder in the volume of a model that is on no hub."""
        return None

    @property
    def web(self) -> dict[str, Any]:
        """Arguments of the web function, which returns `server`."""
        return {
            **self.anywhere(WEB_CORES),
            "secrets": [modal.Secret.from_name(SECRET, required_keys=[KEY_VARIABLE])],
            "cpu": float(WEB_CORES),
            "memory": _WEB_MEGABYTES,
            "min_containers": self.settings.web_min_containers or None,
            "max_containers": self.settings.web_containers,
            "scaledown_window": self.settings.web_window,
            "timeout": math.ceil(min(self._served.request_seconds, _LONGEST_SECONDS)),
            "enable_memory_snapshot": True,
        }

    @property
    def web_inputs(self) -> int:
        """How many requests a web container takes at once: as many as its server."""
        return self._served.live_requests

    def check_carried(self) -> None:
        """Raise `ConfigurationError` if the app needs what only this machine has."""

    def anywhere(self, cores: int) -> dict[str, Any]:
        """Arguments of a function or class that computes on so many ``cores``."""
        threads = Placement("cpu", None, cores).environment
        env = {**carried(), **threads, "HF_HOME": MODELS}
        return {"image": image(), "env": env, "region": self.settings.region or None}

    def engineless(self) -> FastAPI:
        """The web application without an engine.

        Raises:
            ConfigurationError: there is no key.
        """
        return create_app(served(WEB_CORES, devices=("cpu",)), {})
