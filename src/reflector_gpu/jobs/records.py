"""What jobs keep, as compressed JSON, because others may be able to write to the database."""

from __future__ import annotations

import zlib
from typing import Generic, TypeVar

from pydantic import ConfigDict, TypeAdapter

from reflector_gpu.pipeline.diarization import Diarized
from reflector_gpu.pipeline.transcription import Part
from reflector_gpu.types import Recognition, Transcript

T = TypeVar("T")

_JSON = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")


class Record(Generic[T]):
    """Packs values of one type."""

    def __init__(self, kind: type[T]) -> None:
        # Dataclasses take their configuration from what is around them, here a tuple of one.
        self._adapter: TypeAdapter[tuple[T]] = TypeAdapter(tuple[kind], config=_JSON)  # type: ignore[valid-type, arg-type]

    def pack(self, value: T) -> bytes:
        return zlib.compress(self._adapter.dump_json((value,)), 1)

    def unpack(self, body: bytes) -> T:
        return self._adapter.validate_json(zlib.decompress(body))[0]


RECOGNITION = Record(Recognition)
PART = Record(Part)
TRANSCRIPT = Record(Transcript)
DIARIZED = Record(Diarized)
