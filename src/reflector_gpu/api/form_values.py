"""Forms, queries and JSON bodies as values by the names of their fields."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import get_origin

from pydantic import BaseModel
from pydantic_core import from_json

from reflector_gpu.errors import InvalidRequest

_BRACKETED = re.compile(r"^(?P<name>[\w-]+)\[(?P<key>\w*)\]$")


def form_values(pairs: Iterable[tuple[str, str]], model: type[BaseModel]) -> dict[str, object]:
    """Values of ``name``, of ``name[]`` and ``name[0]`` (lists), and of ``name[key]`` (objects).

    Where ``model`` has a list, it may also be written as JSON, and ``name[key]`` is one more of its
    values. Elsewhere the last value counts.
    """
    lists = _lists(model)
    texts: dict[str, list[str]] = {}
    objects: dict[str, dict[str, str]] = {}
    for raw, text in pairs:
        bracketed = _BRACKETED.match(raw)
        name, key = (bracketed["name"], bracketed["key"]) if bracketed else (raw, "")
        if key and not key.isdecimal() and name not in lists:
            objects.setdefault(name, {})[key] = text
        else:
            texts.setdefault(name, []).append(text)
    values: dict[str, object] = {
        name: _listed(sent) if name in lists else sent[-1] for name, sent in texts.items()
    }
    return {**values, **objects}


def json_values(body: bytes) -> dict[str, object]:
    """The object that a JSON body holds.

    Raises:
        InvalidRequest: empty, not JSON, or not an object.
    """
    if not body.strip():
        raise InvalidRequest("The body is empty; send a JSON object with the fields.")
    if body.startswith(b"--"):
        raise InvalidRequest(
            "The body is a form; send a JSON object with the fields here. Files are for routes "
            "that take uploads, such as /v1/audio/transcriptions."
        )
    try:
        sent: object = from_json(body)
    except ValueError as error:
        raise InvalidRequest(
            f"The body is not JSON ({error}); send an object with the fields."
        ) from None
    if not isinstance(sent, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return sent


@cache
def _lists(model: type[BaseModel]) -> frozenset[str]:
    """The fields of ``model`` that are lists."""
    fields = model.model_fields.items()
    return frozenset(name for name, field in fields if get_origin(field.annotation) is tuple)


def _listed(texts: list[str]) -> object:
    if len(texts) > 1:
        return texts
    text = texts[0]
    if text.lstrip().startswith("["):
        try:
            return from_json(text)
        except ValueError:
            return text
    return text
