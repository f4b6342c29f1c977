"""The queries of whisper-asr-webservice's clients: Bazarr, Sonarr's forks, Home Assistant."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from reflector_gpu.api.fields import TranscriptionFields
from reflector_gpu.api.sent_fields import SentFields
from reflector_gpu.formats.whisper_asr import FileFormat
from reflector_gpu.service.parameters import SpeakerParameters

AUDIO_FILE = "audio_file"
"""The name of the part of the form that holds the recording."""


def _or(default: object) -> BeforeValidator:
    """An empty value is the same as none."""
    return BeforeValidator(lambda value: default if value in ("", None) else value)


class DetectFields(SentFields):
    """The query of /detect-language."""

    encode: Annotated[bool, _or(True)] = Field(
        True,
        description="False: the recording is bare samples, 16-bit little-endian mono at 16 kHz.",
    )
    video_file: str | None = Field(
        None, description="Where the sender has the recording; accepted for Bazarr, not used."
    )


class AsrFields(DetectFields, SpeakerParameters):
    """The query of /asr."""

    task: Annotated[Literal["transcribe", "translate"], _or("transcribe")] = Field(
        "transcribe", description="`translate`: to English."
    )
    language: str | None = Field(None, description="The spoken language; left out: detected.")
    initial_prompt: str | None = Field(
        None, description="Text that the recording might follow: style and spelling."
    )
    vad_filter: Annotated[bool, _or(False)] = Field(
        False, description="Accepted; silence is always left out."
    )
    word_timestamps: Annotated[bool, _or(False)] = Field(
        False, description="The output `json` has words."
    )
    output: Annotated[FileFormat, _or("txt")] = Field("txt", description="The format of the file.")
    diarize: Annotated[bool, _or(False)] = Field(
        False, description="Say who speaks: in srt, vtt and json."
    )

    @property
    def transcription_fields(self) -> TranscriptionFields:
        """These fields under their names in /v1/audio/transcriptions."""
        return TranscriptionFields.model_validate(
            {
                "track": self.track,
                "channels": self.channels,
                "language": self.language,
                "prompt": self.initial_prompt,
                "diarize": self.diarize,
                "num_speakers": self.num_speakers,
                "min_speakers": self.min_speakers,
                "max_speakers": self.max_speakers,
            }
        )
