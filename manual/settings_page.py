"""The page of all settings, made of their own descriptions."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

from reflector_gpu.cli.config import UNSET
from reflector_gpu.profiles import PROFILES
from reflector_gpu.settings import Settings, variables

FILE = Path(__file__).parents[1] / "docs" / "configuration.md"

_INTRODUCTION = """\
# Settings

<!-- Written by `python -m manual` of the settings' own descriptions. -->

Every setting is an environment variable. A value comes from the first of these that has one: the
command line, the variable, the profile (`REFLECTOR_PROFILE`), the default below. Lists have commas
between their items. A variable that begins with `REFLECTOR_` and is no setting is an error, so that
a typing error does not go unnoticed. A `-` stands for no value.

`reflector-gpu config` shows the values that are in effect, and where each comes from.
"""


def text() -> str:
    parts = [_INTRODUCTION]
    for title, names in sections().items():
        parts += [f"\n## {title}\n", "| variable | default | what it is |", "|---|---|---|"]
        parts += [_row(name) for name in names]
    return "\n".join(parts) + "\n"


def sections() -> dict[str, list[str]]:
    """The names of all settings, under the comments that divide them in the source."""
    found: dict[str, list[str]] = {}
    for name, title in _in_source():
        found.setdefault(title, []).append(name)
    return found


def _in_source() -> Iterator[tuple[str, str]]:
    classes = [one for one in Settings.__mro__ if one.__module__.startswith("reflector_gpu.")]
    for one in classes:
        title = "General" if one is Settings else one.__name__.removesuffix("Settings")
        for line in inspect.getsource(one).splitlines():
            if comment := re.fullmatch(r" {4}# (.+)", line):
                title = comment[1]
            elif (field := re.match(r" {4}(\w+): ", line)) and field[1] in Settings.model_fields:
                yield field[1], title


def _row(name: str) -> str:
    field = Settings.model_fields[name]
    description = _cell(field.description or "")
    if get_origin(field.annotation) is Literal:
        choices = ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
        description += f" ({choices})"
    elsewhere = [
        f"{_shown(profile.defaults[name])} in `{label}`"
        for label, profile in PROFILES.items()
        if name in profile.defaults and profile.defaults[name] != field.default
    ]
    default = "; ".join([_shown(field.default), *elsewhere])
    names = ", ".join(f"`{variable}`" for variable in variables(name))
    return f"| {names} | {default} | {description} |"


def _shown(value: object) -> str:
    if value is None or value in ("", (), {}):
        return UNSET
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("<", "&lt;").replace("*", r"\*")
