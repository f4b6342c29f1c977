"""The OpenAPI description of bodies that are parsed as streams, which FastAPI cannot see."""

from __future__ import annotations

import json

from pydantic import BaseModel, JsonValue

from reflector_gpu.api import route_fields
from reflector_gpu.api.accepted_fields import AcceptedFields
from reflector_gpu.api.asr_fields import AUDIO_FILE, AsrFields, DetectFields
from reflector_gpu.api.completion_fields import ChatFields, LlmFields
from reflector_gpu.api.errors import ErrorDetail
from reflector_gpu.api.fields import (
    AudioDiarizeFields,
    DiarizeFields,
    FromUrl,
    TranscriptionFields,
    TranslateFields,
)
from reflector_gpu.api.openapi_parts import ERRORS, Extra, answers, inlined, json_in, later
from reflector_gpu.api.padding_fields import Padded, PadFields
from reflector_gpu.formats.chat import ChatCompletion, ChatRenderer, LlmText
from reflector_gpu.formats.diarization import SpeakerSegments
from reflector_gpu.formats.schemas import (
    Body,
    Diarization,
    DiarizedTranscription,
    ReflectorFile,
    ReflectorTranscript,
    TextTranslation,
    TranscribeTranscript,
    Transcription,
    Translation,
    VerboseTranscription,
)
from reflector_gpu.formats.whisper_asr import AsrTranscript, DetectedLanguage
from reflector_gpu.types import Completion

_URL_ERRORS = {
    "403": "The address policy refuses this URL",
    "502": "The audio host fails",
    "504": "The audio host is too slow",
}

_TEXTS = ("text/plain", "application/x-subrip", "text/vtt", "text/event-stream")
_WORDS: list[JsonValue] = [{"word": " hello", "start": 0.42, "end": 0.81, "probability": 0.97}]
_BINARY: JsonValue = {"type": "string", "format": "binary"}


_AUDIO_EXAMPLE: JsonValue = {
    "model": "whisper-1",
    "input_audio": {"data": "UklGRiQAAABXQVZF...", "format": "wav"},
}
_WITH_AUDIO: JsonValue = {
    "type": "object",
    "description": "The fields of the form, and the recording as base64.",
    "properties": {
        "input_audio": {
            "type": "object",
            "properties": {"data": {"type": "string"}, "format": {"type": "string"}},
            "required": ["data"],
        }
    },
    "required": ["input_audio"],
}


def _form(accepted: AcceptedFields[TranscriptionFields], *file_fields: str) -> Extra:
    """An upload with the fields that have an effect on its route."""
    schema = inlined(accepted.model)
    properties = schema["properties"]
    assert isinstance(properties, dict)
    fields = {name: kind for name, kind in properties.items() if name not in accepted.unused}
    files: Extra = {name: _BINARY for name in file_fields if not name.endswith("s")}
    files |= {
        name: {"type": "array", "items": _BINARY} for name in file_fields if name.endswith("s")
    }
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": {**schema, "properties": {**files, **fields}}},
            "application/json": {"schema": _WITH_AUDIO, "example": _AUDIO_EXAMPLE},
            "audio/*": {"schema": _BINARY},
        },
    }


class _NamedText(Body):
    """One of several files in a format that is no JSON."""

    filename: str
    text: str


class _FailedFile(Body):
    """One of several files for which there is no transcript."""

    filename: str
    error: ErrorDetail


class _Files(Body):
    """The answer for several files, in the order in which they were sent."""

    results: tuple[
        ReflectorFile
        | Transcription
        | VerboseTranscription
        | DiarizedTranscription
        | _NamedText
        | _FailedFile,
        ...,
    ]


@later
def transcriptions() -> Extra:
    return {
        "requestBody": _form(route_fields.TRANSCRIPTIONS, "file", "files"),
        "responses": answers(
            ReflectorFile,
            Transcription,
            VerboseTranscription,
            DiarizedTranscription,
            _Files,
            texts=_TEXTS,
            example={"text": "hello", "words": _WORDS, "filename": "meeting.mp3"},
            errors=ERRORS,
        ),
    }


@later
def translations() -> Extra:
    return {
        "requestBody": _form(route_fields.TRANSLATIONS, "file"),
        "responses": answers(
            Translation,
            VerboseTranscription,
            texts=_TEXTS,
            example={"text": "hello"},
            errors=ERRORS,
        ),
    }


@later
def from_url() -> Extra:
    return {
        "requestBody": json_in(FromUrl),
        "responses": answers(
            ReflectorTranscript,
            Transcription,
            VerboseTranscription,
            DiarizedTranscription,
            texts=_TEXTS,
            example={"text": "hello", "words": _WORDS},
            errors={**ERRORS, **_URL_ERRORS},
        ),
    }


@later
def transcribe() -> Extra:
    return {
        "requestBody": _form(route_fields.TRANSCRIBE, "file"),
        "responses": answers(
            TranscribeTranscript,
            example={
                "text": "hello",
                "words": [{"text": " hello", "start": 0.42, "end": 0.81, "probability": 0.97}],
            },
            errors=ERRORS,
        ),
    }


def _query(model: type[BaseModel]) -> list[JsonValue]:
    properties = inlined(model)["properties"]
    assert isinstance(properties, dict)
    parameters: list[JsonValue] = []
    for name, kind in properties.items():
        assert isinstance(kind, dict)
        described = {"description": kind["description"]} if "description" in kind else {}
        parameters.append({"name": name, "in": "query", **described, "schema": kind})
    return parameters


@later
def translate() -> Extra:
    return {
        "parameters": _query(TranslateFields),
        "requestBody": {
            "required": False,
            "content": {
                "application/json": {"schema": {**inlined(TranslateFields), "required": []}},
            },
        },
        "responses": answers(
            TextTranslation,
            example={"text": {"en": "Thank you.", "fr": "Merci."}},
            errors={key: ERRORS[key] for key in ("400", "401", "413", "429", "503")},
        ),
    }


_FILE_UNLESS_URL: JsonValue = {
    "required": False,
    "content": {
        "multipart/form-data": {"schema": {"type": "object", "properties": {"file": _BINARY}}},
        "audio/*": {"schema": _BINARY},
    },
}


@later
def diarize() -> Extra:
    return {
        "parameters": _query(DiarizeFields),
        "requestBody": _FILE_UNLESS_URL,
        "responses": answers(
            Diarization,
            example={"diarization": [{"start": 0.42, "end": 2.05, "speaker": 0}]},
            errors={**ERRORS, **_URL_ERRORS},
        ),
    }


@later
def pad() -> Extra:
    return {
        "requestBody": json_in(PadFields),
        "responses": answers(
            Padded,
            example={"size": 184_320, "cancelled": False},
            errors={
                **{status: ERRORS[status] for status in ("400", "401", "413", "429")},
                "403": "The address policy refuses one of the URLs",
                "404": "The track's URL answers 404",
                "502": "The host of the track fails, or the receiver does not take the file",
                "503": "The server's temporary storage is full; see Retry-After",
                "504": "The host of the track or the receiver is too slow",
            },
        ),
    }


@later
def audio_diarization() -> Extra:
    return {
        "parameters": _query(AudioDiarizeFields),
        "requestBody": _FILE_UNLESS_URL,
        "responses": answers(
            SpeakerSegments,
            texts=("text/plain",),
            example={
                "duration": 12.8,
                "segments": [
                    {"start": 0.42, "end": 2.05, "speaker": "SPEAKER_00", "confidence": 0.98}
                ],
                "overlaps": [],
            },
            errors={**ERRORS, **_URL_ERRORS},
        ),
    }


_AUDIO_FILE: JsonValue = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {AUDIO_FILE: _BINARY},
                "required": [AUDIO_FILE],
            }
        }
    },
}


@later
def asr() -> Extra:
    return {
        "parameters": _query(AsrFields),
        "requestBody": _AUDIO_FILE,
        "responses": {
            **answers(AsrTranscript, example=None, errors=ERRORS),
            "200": {
                "description": "The file",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
        },
    }


@later
def detect_language() -> Extra:
    return {
        "parameters": _query(DetectFields),
        "requestBody": _AUDIO_FILE,
        "responses": answers(
            DetectedLanguage,
            example={"detected_language": "english", "language_code": "en", "confidence": 1.0},
            errors=ERRORS,
        ),
    }


_LLM_ERRORS = {
    **{status: ERRORS[status] for status in ("401", "429")},
    "400": "A field cannot be used, or the prompt is too long",
    "404": "Unknown model",
    "502": "The language model's server fails",
    "503": "No language model is configured, it still loads, or it found no JSON that fits",
    "504": "The language model's server is too slow",
}


@later
def llm() -> Extra:
    return {
        "requestBody": json_in(LlmFields),
        "responses": answers(
            LlmText, example={"text": "The budget was agreed on."}, errors=_LLM_ERRORS
        ),
    }


@later
def chat() -> Extra:
    completion = Completion("The budget was agreed on.", "stop", 15, 8)
    example = {
        **json.loads(ChatRenderer("qwen3-4b").whole(completion)),
        # Fixed, so that the document is the same at every start.
        "id": "chatcmpl-3ec18b073b4444638eef5f305ee82017",
        "created": 1767225600,
    }
    return {
        "requestBody": json_in(ChatFields),
        "responses": answers(ChatCompletion, example=example, errors=_LLM_ERRORS),
    }
