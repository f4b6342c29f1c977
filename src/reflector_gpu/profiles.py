"""Profiles: sets of defaults for a kind of machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

ProfileName: TypeAlias = Literal["embedded", "cpu", "gpu"]


@dataclass(frozen=True, slots=True)
class Profile:
    """Defaults for a kind of machine.

    The banner shows ``accuracy`` and ``better`` if the first of the models is installed.
    """

    accuracy: str
    better: str
    defaults: Mapping[str, str | int | bool | tuple[str, ...]]


_NEURAL = "Parakeet where it knows the language, else Whisper: as good as open models get"

PROFILES: Mapping[ProfileName, Profile] = {
    "embedded": Profile(
        "Whisper base: 8 of 100 words of read English wrong, more where it is far away",
        "pip install 'reflector-gpu[parakeet,whisper,segmentation,translation]', then "
        "reflector-gpu serve --profile cpu",
        {"model": "auto", "auto_models": ("base", "tiny.en", "sphinx")},  # what is here, in order
    ),
    "cpu": Profile(
        _NEURAL,
        "REFLECTOR_PROFILE=gpu on a machine with CUDA",
        {
            "model": "auto",
            # A quarter of the size. -v3-int8 would know 25 languages, but not tell them apart.
            "auto_models": ("nvidia/parakeet-tdt-0.6b-v2-int8", "large-v3-turbo"),
            "diarizer": "segmentation",
            "translator": ("m2m100",),
            "auto_pull": True,
        },
    ),
    "gpu": Profile(
        _NEURAL,
        "REFLECTOR_AUTO_MODELS=nvidia/parakeet-tdt-0.6b-v2,large-v3 trades speed for accuracy",
        {
            "model": "auto",
            "diarizer": "segmentation",
            "translator": ("m2m100",),
            "auto_pull": True,
            "devices": ("cuda",),
            "host": "0.0.0.0",  # noqa: S104  and so it wants a key
            "file_requests": 32,
            "live_requests": 256,
        },
    ),
}
