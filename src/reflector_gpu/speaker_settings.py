"""The settings of voices that are remembered."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings


class SpeakerSettings(BaseSettings):
    """Part of `reflector_gpu.settings.Settings`."""

    speaker_store: Path | None = Field(
        None, description="Folder for remembered voices; without it none are remembered"
    )
    speaker_store_key: SecretStr | None = Field(
        None,
        min_length=16,
        description="Secret that remembered voices are encrypted with; the extra 'encryption' does "
        "it",
    )
