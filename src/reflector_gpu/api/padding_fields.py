"""The request and the answer of /pad, as Reflector defines them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from reflector_gpu.api.sent_fields import SentFields
from reflector_gpu.audio.padding import LONGEST_PADDING


class PadFields(SentFields):
    """The body of /pad."""

    track_url: str = Field(
        min_length=1,
        description="Where the recording is; http or https. The bytes decide what it is.",
        examples=["https://example.com/track.webm?signature=abc"],
    )
    output_url: str = Field(
        min_length=1,
        description="Where the result goes by PUT; a presigned URL of an object store, say.",
        examples=["https://example.com/padded.webm?signature=def"],
    )
    start_time_seconds: float = Field(
        gt=0,
        le=LONGEST_PADDING,
        strict=True,
        description="Seconds of silence before the first sample of the recording.",
    )
    track_index: int | None = Field(None, description="For the log alone.")


class Padded(BaseModel):
    size: int = Field(description="Bytes of the WebM file that the output URL got.")
    cancelled: bool = Field(False, description="Always false: a client that leaves gets no answer.")
