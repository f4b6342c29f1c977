"""The fields of jobs: those of the synchronous calls, and those that only jobs have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError, from_json

from reflector_gpu.api.accepted_fields import AcceptedFields
from reflector_gpu.api.fields import (
    AudioDiarizeFields,
    TranscriptionFields,
    stripped,
)
from reflector_gpu.api.sent_fields import SentFields
from reflector_gpu.formats.response_format import Granularity
from reflector_gpu.jobs.job import Status, is_job_id
from reflector_gpu.service.parameters import listed, not_empty

Kind = Literal["transcription", "diarization", "translation"]

_TEXT = StringConstraints(max_length=512)
_NAME = StringConstraints(min_length=1, max_length=64)


def _object(value: object) -> object:
    """A form can only send an object as JSON text."""
    if isinstance(value, str) and value.strip():
        try:
            decoded: object = from_json(value)
        except ValueError:
            return value
        return decoded
    return value or {}


def _flattened(value: object) -> object:
    """A query has a list of texts, each of which may have several values between commas."""
    return listed(",".join(map(str, value))) if isinstance(value, list) else listed(value)


def _position(value: object) -> object:
    """The id of a job, after which a page begins. A list goes on where the job was, if it is erased
    by now."""
    if isinstance(value, str) and value and not is_job_id(value):
        raise PydanticCustomError("no_job_id", "Send the 'last_id' of the page before")
    return not_empty(value)


_Granularities = Annotated[tuple[Granularity, ...], BeforeValidator(_flattened)]


class JobFields(SentFields):
    """The fields that every job has besides those of its kind."""

    kind: Kind = Field(
        "transcription",
        description="What to do: `transcription`, `diarization` (who speaks when), or "
        "`translation` (speech to English text).",
    )
    audio_file_url: Annotated[str | None, BeforeValidator(stripped)] = Field(
        None, description="Where the recording is, unless it is sent as `file`."
    )
    upload_id: Annotated[str | None, BeforeValidator(not_empty)] = Field(
        None, max_length=64, description="An upload to /v1/uploads that is complete."
    )
    webhook_url: Annotated[str | None, BeforeValidator(stripped)] = Field(
        None,
        max_length=2000,
        description="Where to POST the job once it ends, in the form of Standard Webhooks; "
        "/v1/webhooks/secret has the secret that signs it.",
    )
    metadata: Annotated[
        dict[Annotated[str, _NAME], Annotated[str, _TEXT]], BeforeValidator(_object)
    ] = Field(
        default_factory=dict,
        max_length=16,
        description="Texts of your own, which the job shows as they are.",
        examples=[{"meeting": "board-2026-11"}],
    )
    priority: Annotated[int, BeforeValidator(lambda value: value or 0)] = Field(
        0, ge=-100, le=100, description="Jobs of higher priority are taken first."
    )
    idempotency_key: Annotated[str | None, BeforeValidator(not_empty)] = Field(
        None,
        min_length=1,
        max_length=255,
        pattern=r"^[^\x00]*$",
        description="Two requests with the same key make one job. The header `Idempotency-Key` "
        "means the same.",
    )


class TranscriptionJobFields(JobFields, TranscriptionFields):
    """A job of the kind ``transcription`` or ``translation``."""

    timestamp_offset: Annotated[float, BeforeValidator(lambda value: value or 0.0)] = Field(
        0.0, ge=-1e10, le=1e10, description="Seconds added to every time."
    )


class DiarizationJobFields(JobFields, AudioDiarizeFields):
    """A job of the kind ``diarization``."""


_OWN = (
    "audio_file_url",
    "idempotency_key",
    "kind",
    "metadata",
    "priority",
    "upload_id",
    "webhook_url",
)

SPOKEN = {
    "transcription": AcceptedFields(TranscriptionJobFields, unused=frozenset({"batch", "stream"})),
    "translation": AcceptedFields(
        TranscriptionJobFields,
        unused=frozenset({"batch", "include", "language", "languages", "stream"}),
    ),
}
"""The fields of the kinds that give words."""

DIARIZATION = AcceptedFields(DiarizationJobFields)


def options_of(kind: Kind, values: Mapping[str, object]) -> dict[str, object]:
    """Those of a job's known fields that say what to do with the recording."""
    accepted = DIARIZATION if kind == "diarization" else SPOKEN[kind]
    known = accepted.model.model_fields.keys() - accepted.unused - set(_OWN)
    return {name: value for name, value in values.items() if name in known}


class PageFields(SentFields):
    """Which page of a list a query asks for."""

    after: Annotated[str | None, BeforeValidator(_position)] = Field(
        None, description="The `last_id` of the page before."
    )
    limit: int = Field(20, ge=1, le=100, description="Most entries of this page.")


class ListFields(PageFields):
    """The query of GET /v1/jobs."""

    status: Annotated[tuple[Status, ...], BeforeValidator(_flattened)] = Field(
        (), description="Only jobs with one of these statuses."
    )
    kind: Annotated[Kind | None, BeforeValidator(not_empty)] = Field(
        None, description="Only jobs of this kind."
    )
    idempotency_key: Annotated[str | None, BeforeValidator(not_empty)] = Field(
        None, max_length=255, description="Only the job with this key."
    )


class ResultFields(SentFields):
    """The query of GET /v1/jobs/{id}/result."""

    format: Annotated[
        Literal["json", "text", "srt", "vtt", "verbose_json", "diarized_json", "reflector", "rttm"]
        | None,
        BeforeValidator(not_empty),
    ] = Field(
        None,
        description="A `response_format` of the synchronous call; `reflector` is its answer "
        "without one. Left out: the job's own `response_format`.",
    )
    timestamp_granularities: _Granularities = Field(
        (), description="What `verbose_json` holds; left out: as the job says."
    )
    partial: bool = Field(
        False,
        description="Give what was recognised so far of a job that is not completed. Its "
        "`duration` is how much of the recording that is.",
    )
