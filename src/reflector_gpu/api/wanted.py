"""Turns the fields of a transcription into a request to the service, now or as a job."""

from __future__ import annotations

from dataclasses import replace

from reflector_gpu.api.fields import TranscriptionFields
from reflector_gpu.engines.recognition.base import RecogniserModel
from reflector_gpu.service import Service, TranscriptionRequest
from reflector_gpu.types import Priority, Task


def model_for(service: Service, fields: TranscriptionFields, task: Task) -> RecogniserModel:
    """The model that ``fields`` mean, which can do what they ask for.

    Raises:
        UnknownModel, UnsupportedLanguage, InvalidRequest
    """
    model = service.resolve(fields.model, fields.options(task))
    if fields.wants_logprobs:
        model.check_logprobs()
    return model


async def transcription_request(
    service: Service,
    model: RecogniserModel,
    fields: TranscriptionFields,
    task: Task,
    priority: Priority,
    owner: str,
) -> TranscriptionRequest:
    """What ``fields`` ask of ``model``. Speakers that are remembered are those of ``owner``.

    Raises:
        ReflectorError: a field does not fit, or a model is not here.
    """
    wanted = service.request(
        model,
        fields,
        task=task,
        priority=priority,
        vad=fields.vad(service.vad),
        streamed=bool(fields.stream),
    )
    if wanted.translate_to:
        field = "model" if wanted.translated else "translate_to"
        await service.translations.check_target(wanted.written, wanted.translate_to, field)
    if wanted.speakers is not None and (known := fields.voices):
        wanted = replace(wanted, voices=await service.recordings.voices(known))
    if wanted.speakers is not None and fields.known_speakers:
        identify = await service.known_speakers.identification(owner, fields.known_speakers)
        wanted = replace(wanted, identify=identify)
    return wanted
