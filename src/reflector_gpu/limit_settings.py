"""The settings that limit what clients may ask for, and how long it may take."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings


class LimitSettings(BaseSettings):
    """Part of `reflector_gpu.settings.Settings`."""

    # Connections
    connections: int = Field(
        512,
        ge=1,
        description="Connections at once; never more than half of the files that may be open",
    )
    header_seconds: float = Field(
        10.0, gt=0, description="Longest that the head of a request may take"
    )
    keep_alive_seconds: float = Field(
        5.0, gt=0, description="Longest that a connection may wait for its next request"
    )
    write_seconds: float = Field(
        30.0, gt=0, description="Longest that a client may not read its answer"
    )

    # Limits
    max_upload_mb: float = Field(2000, gt=0, description="Largest request or download, in MB")
    max_audio_seconds: float = Field(6 * 3600, gt=0, description="Longest recording")
    decoding_memory_mb: float = Field(
        256, gt=0, description="Most memory that decoding one recording may take, in MB (Linux)"
    )
    translate_characters: int = Field(
        100_000, ge=1, description="Longest text of one translation request"
    )
    max_files: int = Field(100, ge=1, description="Most files in one request")
    body_seconds: float = Field(
        60.0, gt=0, description="Longest wait for the next bytes of a request"
    )
    request_seconds: float = Field(
        12 * 3600, gt=0, description="Longest that a request may take; X-Request-Timeout asks less"
    )
    live_requests: int = Field(64, ge=1, description="Uploads worked on at once; more get 429")
    live_audio_seconds: float = Field(
        4 * 3600, gt=0, description="Audio of uploads that may wait; beyond it they get 429"
    )
    live_step_seconds: float = Field(
        5.0,
        gt=0,
        description="Seconds between passes over what realtime sessions say; where another session "
        "would make them longer, it gets 429",
    )
    file_requests: int = Field(8, ge=1, description="URL requests at once; more get 429")
    file_audio_seconds: float = Field(
        24 * 3600, gt=0, description="Audio by URL that may wait; beyond it requests get 429"
    )
    key_requests: int | None = Field(
        None,
        ge=0,
        description="Requests of one client at once; more get 429. 0: no limit; if not set, half "
        "of all places where there can be several clients",
    )
    key_hourly_audio_seconds: float | None = Field(
        None,
        ge=0,
        description="Audio that one client may send in an hour. 0: no limit; if not set, 100 hours "
        "where there can be several clients",
    )

    @property
    def max_upload_bytes(self) -> int:
        return int(self.max_upload_mb * 1_000_000)

    @property
    def decoding_memory_bytes(self) -> int:
        return int(self.decoding_memory_mb * 1_000_000)
