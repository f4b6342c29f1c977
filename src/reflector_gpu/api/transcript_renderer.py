"""Transcripts in the format that the client asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from reflector_gpu.api.fields import TranscriptionFields
from reflector_gpu.formats import openai, reflector, subtitles
from reflector_gpu.formats.logprobs import logprobs
from reflector_gpu.formats.response_format import Format
from reflector_gpu.pipeline.translation import in_translation
from reflector_gpu.types import Segment, Transcript, WordSpaces

B = TypeVar("B", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class TranscriptRenderer:
    """Writes the transcript of one answer. ``offset`` is added to every time.

    `body`, `file` and `translation` give a model for JSON, or plain text.
    """

    fields: TranscriptionFields
    spaces: WordSpaces
    offset: float = 0.0

    @property
    def format(self) -> Format | None:
        """The format that the client asked for. None: Reflector's."""
        return self.fields.response_format

    def body(self, transcript: Transcript) -> BaseModel | str:
        """The transcript of a recording without a name."""
        match self.format:
            case Format.TEXT:
                return openai.text(in_translation(transcript))
            case Format.SRT:
                return subtitles.srt(in_translation(transcript), offset=self.offset)
            case Format.VTT:
                return subtitles.vtt(in_translation(transcript), offset=self.offset)
            case Format.VERBOSE_JSON:
                granularities = self.fields.timestamp_granularities
                return openai.verbose_json(
                    transcript, granularities, offset=self.offset, spaces=self.spaces
                )
            case Format.DIARIZED_JSON:
                return openai.diarized_json(transcript, offset=self.offset)
            case Format.JSON:
                return self.scored(openai.json(transcript), transcript.segments)
            case None:
                found = reflector.transcript(transcript, offset=self.offset, spaces=self.spaces)
                return self.scored(found, transcript.segments)

    def file(self, transcript: Transcript, filename: str) -> BaseModel | str:
        """The transcript of an upload. Reflector's format includes its name."""
        if self.format is not None:
            return self.body(transcript)
        found = reflector.file(transcript, filename, spaces=self.spaces)
        return self.scored(found, transcript.segments)

    def translation(self, transcript: Transcript) -> BaseModel | str:
        """Speech translated into English. OpenAI's JSON has fewer fields than for a transcript."""
        match self.format:
            case Format.VERBOSE_JSON:
                return openai.verbose_translation(transcript)
            case Format.JSON:
                return openai.translation(transcript)
            case _:
                return self.body(transcript)

    def scored(self, body: B, segments: Sequence[Segment], *, follow: bool = False) -> B:
        """``body``, which has the text of ``segments``, with logprobs if the client wants them."""
        if not self.fields.wants_logprobs:
            return body
        return body.model_copy(update={"logprobs": logprobs(segments, follow=follow)})
