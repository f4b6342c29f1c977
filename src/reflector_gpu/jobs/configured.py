"""The jobs that the settings ask for."""

from __future__ import annotations

from collections.abc import Mapping

from reflector_gpu.audio.guard import AddressGuard
from reflector_gpu.jobs.allowance import Allowance, Share
from reflector_gpu.jobs.folder import JobFolder
from reflector_gpu.jobs.jobs import Jobs, Show
from reflector_gpu.jobs.journal import Work
from reflector_gpu.jobs.owners import Owners
from reflector_gpu.jobs.runner import Ended, Fetch
from reflector_gpu.jobs.stored_folder import StoredFolder
from reflector_gpu.settings import Settings
from reflector_gpu.store.database import Database

_HOUR = 3600.0
_GB = 1e9


def configured_jobs(
    settings: Settings,
    database: Database,
    works: Mapping[str, Work],
    fetch: Fetch,
    show: Show,
    owners: Owners,
    ended: Ended,
) -> Jobs:
    """Jobs in ``database``, and in the folder that the operator has named, if there is one.

    Raises:
        ConfigurationError: it cannot be used.
    """
    return Jobs(
        database,
        _folder(settings, database),
        works,
        fetch,
        AddressGuard(settings.url_allow),
        show,
        owners,
        ended,
        shared=settings.database_url is not None,
        at_once=settings.jobs_at_once,
        allowance=Allowance(
            Share(
                settings.jobs_per_key,
                settings.storage_gb_per_key * _GB,
                settings.job_streams_per_key,
            ),
            Share(settings.jobs_waiting, settings.storage_gb * _GB, settings.job_streams),
        ),
        keep_seconds=settings.jobs_keep_hours * _HOUR,
        upload_seconds=settings.uploads_keep_hours * _HOUR,
    )


def _folder(settings: Settings, database: Database) -> JobFolder:
    if settings.data_dir:
        return JobFolder(settings.data_dir, settings.max_upload_bytes)
    return StoredFolder(database, settings.max_upload_bytes, settings.spool_dir)
