"""The settings of a deployment on Modal: ``REFLECTOR_MODAL_...``, read when it is made."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from reflector_gpu.deploy import deployment_settings

PREFIX = "REFLECTOR_MODAL_"

NO_GPU = "none"

_HERE = {
    "profile",
    "host",
    "port",
    "wyoming",
    "insecure",
    "trusted_networks",
    "trusted_proxies",
    "devices",
    "workers",
    "spool_dir",
    "data_dir",
    "auto_pull",
}
_EACH_APPS = {
    "model",
    "model_aliases",
    "model_paths",
    "auto_models",
    "diarizer",
    "translator",
    "llm_engine",
    "llm_model",
    "llm_base_url",
}
"""Settings that name models. An app has one model, and no folders of this machine."""
_SECRET = {"apikey", "database_url", "llm_api_key", "speaker_store_key"}


class ModalSettings(BaseSettings):
    """What an operator can set. GPUs are Modal's names for them, or ``none``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, env_ignore_empty=True)

    transcriber_model: str = Field("large-v3-turbo", description="Model of reflector-transcriber")
    parakeet_model: str = Field(
        "nvidia/parakeet-tdt-0.6b-v2", description="Model of reflector-transcriber-parakeet"
    )
    diarizer_model: str = Field("segmentation", description="Model of reflector-diarizer")
    translator_model: str = Field("m2m100", description="Model of reflector-translator")
    llm_model: str = Field(
        "/models/llm",
        description="Model of reflector-llm: its folder, where the volume reflector-models is "
        "/models (modal volume put reflector-models FOLDER /llm)",
    )

    live_gpu: str = Field("A10G", description="GPU of recognisers for uploads")
    file_gpu: str = Field("L40S", description="GPU of recognisers for recordings by URL")
    diarizer_gpu: str = Field("A10G", description="GPU of diarizers that use one")
    translator_gpu: str = Field("A10G", description="GPU of translators that use one")
    llm_gpu: str = Field("L40S", description="GPU of language models that use one")
    gpu_snapshot: bool = Field(
        False, description="Keep loaded models in snapshots, GPU memory included (Modal's alpha)"
    )

    live_inputs: int = Field(10, ge=1, description="Calls that one container for uploads takes in")
    live_containers: int = Field(4, ge=1, description="Most containers for uploads")
    file_containers: int = Field(10, ge=1, description="Most containers for recordings by URL")
    file_fan_out: int = Field(
        4, ge=1, description="Most of these that one web container's recordings are spread over"
    )
    containers: int = Field(4, ge=1, description="Most containers of any other engine")
    web_containers: int = Field(4, ge=1, description="Most web containers")
    web_min_containers: int = Field(
        0, ge=0, description="Web containers that are always kept; jobs go on while there is one"
    )
    min_containers: int = Field(
        0, ge=0, description="Containers for uploads, or of any other engine, that are always kept"
    )

    live_window: int = Field(
        300, ge=2, le=1200, description="Seconds that an idle container for uploads is kept"
    )
    file_window: int = Field(
        60, ge=2, le=1200, description="Seconds that an idle one for recordings by URL is kept"
    )
    window: int = Field(
        120, ge=2, le=1200, description="Seconds that an idle one of any other engine is kept"
    )
    web_window: int = Field(
        300, ge=2, le=1200, description="Seconds that an idle web container is kept"
    )
    region: str = Field("", description="Region to run in, as Modal names them; costs extra")


def load_modal_settings() -> ModalSettings:
    """
    Raises:
        ConfigurationError: as `deployment_settings.load`.
    """
    return deployment_settings.load(ModalSettings, PREFIX)


def carried(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables to carry to containers: no keys, and nothing about this machine."""
    left_out = _HERE | _EACH_APPS | _SECRET
    return deployment_settings.carried(PREFIX, left_out, environment)
