"""The OpenAPI description of the bodies of jobs."""

from __future__ import annotations

from pydantic import JsonValue

from reflector_gpu.api.job_fields import DiarizationJobFields, TranscriptionJobFields
from reflector_gpu.api.openapi_parts import Extra, inlined, later

_BINARY: JsonValue = {"type": "string", "format": "binary"}


def _properties() -> Extra:
    found: Extra = {}
    for model in (DiarizationJobFields, TranscriptionJobFields):
        properties = inlined(model)["properties"]
        assert isinstance(properties, dict)
        found |= {name: kind for name, kind in properties.items() if name not in _NOT_OF_JOBS}
    return found


_NOT_OF_JOBS = ("batch", "stream")


@later
def create() -> Extra:
    return {
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "As `idempotency_key`. Where nothing more is kept, a repeated "
                "request gets its job if its key comes here, in the query or in JSON, but not in a "
                "form.",
                "schema": {"type": "string"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {"type": "object", "properties": {"file": _BINARY, **_properties()}}
                },
                "application/json": {
                    "schema": {
                        "type": "object",
                        "properties": _properties(),
                    },
                    "example": {"audio_file_url": "https://example.com/meeting.mp3"},
                },
                "audio/*": {"schema": _BINARY},
            },
        },
    }
