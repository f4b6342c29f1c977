"""The settings of what outlives the server: jobs, uploads, and where they are kept."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings


class JobSettings(BaseSettings):
    """Part of `reflector_gpu.settings.Settings`."""

    # Jobs
    data_dir: Path | None = Field(
        None,
        description="Folder for jobs; without it and without a database there are none",
    )
    database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL that several servers share: postgresql://user:password@host/name; "
        "if not set, a file in data_dir. Without data_dir it has the recordings too",
    )
    jobs_at_once: int = Field(2, ge=1, description="Jobs that are worked on at the same time")
    jobs_per_key: int = Field(
        20_000, ge=1, description="Jobs of one key that may wait or run at the same time"
    )
    jobs_waiting: int = Field(
        100_000, ge=1, description="Jobs of all keys that may wait or run at the same time"
    )
    job_streams_per_key: int = Field(
        64,
        ge=1,
        description="Event streams of jobs that one key may hold at one server; more get 429",
    )
    job_streams: int = Field(256, ge=1, description="The same for all keys together")
    storage_gb_per_key: float = Field(
        100.0,
        gt=0,
        description="Recordings, uploads and files of one key that are kept at the same time",
    )
    storage_gb: float = Field(500.0, gt=0, description="The same for all keys together")
    uploads_keep_hours: float = Field(
        24.0, gt=0, description="How long a resumable upload is kept after its last byte"
    )
    jobs_keep_hours: float = Field(
        72.0, gt=0, description="How long a job's result is kept after its end"
    )
