"""Reads the settings of a deployment, and says which of them to carry to where it runs."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from reflector_gpu.environment import refuse_unknown
from reflector_gpu.errors import ConfigurationError
from reflector_gpu.settings import Settings, variables

S = TypeVar("S", bound=BaseSettings)

_MIRROR = "HF_ENDPOINT"  # where weights are fetched from


def load(kind: type[S], prefix: str) -> S:
    """The settings of this ``kind`` from the environment.

    Raises:
        ConfigurationError: a value does not fit, or there is no such setting; the message names
            the variable.
    """
    refuse_unknown(prefix, {f"{prefix}{name.upper()}" for name in kind.model_fields})
    try:
        return kind()
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        lines = [f"{prefix}{str(one['loc'][0]).upper()}: {one['msg']}" for one in problems]
        raise ConfigurationError("\n".join(lines)) from None


def carried(
    prefix: str, left_out: Collection[str], environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The variables to carry to where a deployment runs: those with its ``prefix``, and those of
    all settings but the ones that are ``left_out``.

    Names are in capitals, even if this machine has them in lower case.
    """
    fields = Settings.model_fields.keys() - left_out
    wanted = {_MIRROR, *(name for field in fields for name in variables(field))}
    set_here = {name.upper(): value for name, value in environment.items()}
    return {
        name: value for name, value in set_here.items() if name.startswith(prefix) or name in wanted
    }
