"""The settings of a deployment on Ray: ``REFLECTOR_RAY_...``, read where it is built."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from reflector_gpu.deploy.deployment_settings import load
from reflector_gpu.settings import Settings

PREFIX = "REFLECTOR_RAY_"


class RaySettings(BaseSettings):
    """What an operator can set. Shares of cores and GPUs are those that Ray reserves."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, env_ignore_empty=True)

    ingresses: int = Field(2, ge=1, description="Fewest replicas of the server")
    most_ingresses: int = Field(8, ge=1, description="Most replicas of the server")
    ingress_cpus: float = Field(1.0, ge=0, description="Cores of each, which decode recordings")

    replicas: int = Field(1, ge=1, description="Fewest replicas of each engine")
    most_replicas: int = Field(4, ge=1, description="Most replicas of each engine")
    cpus: float = Field(1.0, ge=0, description="Cores of each replica of an engine")
    gpus: float | None = Field(
        None,
        ge=0,
        description="GPUs of each, such as 0.25; if not set, 1 where REFLECTOR_DEVICES names one",
    )
    per_node: int | None = Field(
        None,
        ge=1,
        description="Most replicas of one deployment on one node; 1 keeps the death of a node from "
        "taking two of them",
    )
    queued: int = Field(
        256, ge=1, description="Calls of one server that may wait for an engine; more get 429"
    )

    health_seconds: float = Field(
        5.0, gt=0, description="How often Ray looks whether a replica is alive"
    )
    drain_seconds: float = Field(
        600.0,
        gt=0,
        description="Longest time that an ending replica may take to finish its work",
    )

    def share_of_gpu(self, settings: Settings) -> float:
        """The GPUs of a replica whose engine can use one."""
        if self.gpus is not None:
            return self.gpus
        return 0.0 if all(device == "cpu" for device in settings.devices) else 1.0


def load_ray_settings() -> RaySettings:
    """
    Raises:
        ConfigurationError: as `deployment_settings.load`.
    """
    return load(RaySettings, PREFIX)
