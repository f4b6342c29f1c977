"""The page of all routes, made of the OpenAPI document that the server itself gives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TypeAlias, cast

from reflector_gpu.api.app import create_app
from reflector_gpu.settings import load_settings

Schema: TypeAlias = Mapping[str, object]

_INTRODUCTION = """\
# API reference

Written from the OpenAPI document of this version. A running server has it at `/openapi.json`, and
at `/docs` as a page to try it on. Every error has the form
`{"error": {"message", "type", "param", "code"}, "detail"}`.
"""

_METHODS = ("get", "post", "put", "patch", "delete", "head", "options")


def text() -> str:
    document = cast("dict[str, Schema]", create_app(load_settings()).openapi())
    groups: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, found in cast("dict[str, Schema]", operations).items():
            if method in _METHODS:
                tags = cast("list[str]", found.get("tags", ["other"]))
                groups.setdefault(tags[0], []).append(_operation(method, path, found, document))
    parts = [_INTRODUCTION]
    for title, sections in groups.items():
        parts += [f"## {title[0].upper()}{title[1:]}\n", *sections]
    return "\n".join(parts)


def _operation(method: str, path: str, found: Schema, document: Schema) -> str:
    lines = [f"### {method.upper()} {path}\n", f"{found.get('summary', '')}.\n"]
    if description := found.get("description"):
        lines += [f"{description}\n"]
    parameters = cast("list[Schema]", found.get("parameters", []))
    fields = [
        _field(str(one["name"]), cast("Schema", one["schema"]), one, document, str(one["in"]))
        for one in parameters
    ]
    if fields:
        lines += ["| parameter | in | type | what it is |", "|---|---|---|---|", *fields, ""]
    body = cast("Schema", found.get("requestBody") or {})
    for kind, content in cast("dict[str, Schema]", body.get("content", {})).items():
        schema = _resolved(cast("Schema", content.get("schema", {})), document)
        rows = list(_properties(schema, document))
        lines += [f"Body, `{kind}`:\n" if rows else f"Body: `{kind}`.\n"]
        if rows:
            lines += ["| field | type | what it is |", "|---|---|---|", *rows, ""]
    answers = ", ".join(f"`{status}`" for status in cast("Schema", found["responses"]))
    lines += [f"Answers: {answers}.\n"]
    return "\n".join(lines)


def _properties(schema: Schema, document: Schema) -> Iterator[str]:
    required = cast("list[str]", schema.get("required", []))
    for name, one in cast("dict[str, Schema]", schema.get("properties", {})).items():
        yield _field(name, one, {"required": name in required}, document)


def _field(name: str, schema: Schema, about: Schema, document: Schema, place: str = "") -> str:
    described = about.get("description") or schema.get("description") or ""
    words = [_cell(str(described))]
    if about.get("required"):
        words.append("Required.")
    if schema.get("default") not in (None, "", []):
        words.append(f"Default: `{json.dumps(schema['default'])}`.")
    where = f" {place} |" if place else ""
    return f"| `{name}` |{where} {_type(schema, document)} | {' '.join(filter(None, words))} |"


def _type(schema: Schema, document: Schema) -> str:
    schema = _resolved(schema, document)
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in cast("list[object]", schema["enum"]))
    if "const" in schema:
        return f"`{schema['const']}`"
    for union in ("anyOf", "oneOf"):
        if union in schema:
            kinds = [_type(one, document) for one in cast("list[Schema]", schema[union])]
            return " or ".join(dict.fromkeys(kind for kind in kinds if kind != "null"))
    if schema.get("type") == "array":
        return f"list of {_type(cast('Schema', schema.get('items', {})), document)}"
    return str(schema.get("format") or schema.get("type") or "any")


def _resolved(schema: Schema, document: Schema) -> Schema:
    """The schema that a reference stands for."""
    while reference := schema.get("$ref"):
        found: object = document
        for step in str(reference).removeprefix("#/").split("/"):
            found = cast("Schema", found)[step]
        schema = cast("Schema", found)
    if len(all_of := cast("list[Schema]", schema.get("allOf", []))) == 1:
        return _resolved(all_of[0], document)
    return schema


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").replace("<", "&lt;").split())
