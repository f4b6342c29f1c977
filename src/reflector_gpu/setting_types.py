"""Kinds of values that settings have."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, StringConstraints
from pydantic_settings import NoDecode


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part for part in (p.strip() for p in value.split(",")) if part)
    return value


Commas = BeforeValidator(_split)
"""Reads values between commas."""

List = Annotated[tuple[str, ...], NoDecode, Commas]
"""Values between commas in the environment."""

Device = Annotated[str, StringConstraints(pattern=r"^(cpu|(cuda|tensorrt)(:\d+)?)$")]
"""A kind of processor, and which one of several."""


def _source(value: str) -> str:
    if not re.fullmatch(r"hub|index|(https?|file)://\S+", value):
        raise ValueError(
            "each source is 'hub', 'index' or the address of a mirror (https://... or file://...)"
        )
    return value


WeightsSource = Annotated[str, AfterValidator(_source)]
"""The hub, the package index, or the address of a mirror."""

ParakeetRuntime: TypeAlias = Literal["auto", "onnx", "torch"]
"""What Parakeet runs on: ONNX Runtime, PyTorch, or what suits the machine."""
