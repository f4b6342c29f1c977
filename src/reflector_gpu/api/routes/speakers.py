"""Voices that the server remembers, so that people are named in other recordings."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, JsonValue
from starlette.responses import Response

from reflector_gpu.api import responses, route_fields
from reflector_gpu.api.checked_query import CheckedQuery
from reflector_gpu.api.connection import unless_disconnected
from reflector_gpu.api.dependencies import AppIntake, AppService, Owner
from reflector_gpu.api.errors import ANY_FAILURE
from reflector_gpu.api.fields import SpeakerFields
from reflector_gpu.api.openapi_parts import inlined
from reflector_gpu.errors import InvalidRequest
from reflector_gpu.pipeline.voices import Voice
from reflector_gpu.service.known_speakers import EVERYBODY, MOST_CLIPS
from reflector_gpu.service.speaker_files import Remembered
from reflector_gpu.types import Priority

router = APIRouter(prefix="/v1/speakers", tags=["diarization"], route_class=CheckedQuery)


_CLIP: JsonValue = {"type": "string", "format": "binary"}
_CLIPS: JsonValue = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    **inlined(SpeakerFields)["properties"],  # type: ignore[dict-item]  # an object
                    "files": {"type": "array", "items": _CLIP},
                },
                "required": ["name", "files"],
            }
        }
    },
}


class Speaker(BaseModel):
    """Somebody whose voice is remembered. Answers never contain the voice itself."""

    object: Literal["speaker"] = "speaker"
    name: str = Field(examples=["Anna Berg"])
    created_at: int = Field(description="Unix time.", examples=[1795867200])
    seconds: float = Field(description="Of the clips that were sent.", examples=[12.4])

    @classmethod
    def of(cls, known: Remembered) -> Speaker:
        return cls(name=known.name, created_at=known.created, seconds=known.seconds)


class SpeakerList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Speaker]
    unreadable: int = Field(
        description="How many of your key's files are damaged. Each of them has the voice of a "
        "speaker who is missing here. Send clips of that voice again."
    )


class SpeakerDeleted(BaseModel):
    object: Literal["speaker"] = "speaker"
    name: str
    deleted: Literal[True] = True


@router.post(
    "",
    openapi_extra={"requestBody": _CLIPS},
    responses={200: {"model": Speaker}, "default": ANY_FAILURE},
)
async def create_speaker(
    request: Request, intake: AppIntake, service: AppService, owner: Owner
) -> Response:
    """Remember how somebody sounds, from clips in which nobody else speaks.

    Send two to thirty seconds each. Only a vector is kept of them. A speaker of the same name is
    replaced.
    """
    service.known_speakers.check()
    async with intake.admit(request, Priority.LIVE) as context:
        form = await intake.form(context)
        fields = intake.form_fields(request, route_fields.SPEAKERS, form)
        if fields.name == EVERYBODY or "," in fields.name:
            raise InvalidRequest(
                f"name: '{EVERYBODY}' means everybody, and a comma is between names; choose "
                "another.",
                param="name",
            )
        if len(form.files) > MOST_CLIPS:
            raise InvalidRequest(f"Send at most {MOST_CLIPS} clips of a voice.", param="file")
        recordings, clips = service.recordings, list[Voice]()
        for upload in form.files:
            decoding = recordings.clip(upload.filename, upload.spool)
            clips.append(await unless_disconnected(request, decoding))
        adding = service.known_speakers.add(owner, fields.name, clips)
        return responses.of_body(Speaker.of(await unless_disconnected(request, adding)))


@router.get("", responses={"default": ANY_FAILURE})
async def list_speakers(service: AppService, owner: Owner) -> SpeakerList:
    """List the speakers of your key whose voices are remembered."""
    known, damaged = await service.known_speakers.all(owner)
    return SpeakerList(data=[Speaker.of(one) for one in known], unreadable=damaged)


@router.delete("/{name:path}", responses={"default": ANY_FAILURE})
async def delete_speaker(name: str, service: AppService, owner: Owner) -> SpeakerDeleted:
    """Forget how somebody sounds."""
    await service.known_speakers.remove(owner, name)
    return SpeakerDeleted(name=name)
