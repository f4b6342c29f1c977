"""Which scope of a key each route needs."""

from __future__ import annotations

from reflector_gpu.errors import Forbidden
from reflector_gpu.store.keys import ApiKey, Scope

_PATHS = (
    ("/v1/audio/diarization", Scope.DIARIZE),
    ("/diarize", Scope.DIARIZE),
    ("/v1/speakers", Scope.DIARIZE),
    ("/v1/audio/translations", Scope.TRANSLATE),
    ("/translate", Scope.TRANSLATE),
    ("/v1/audio/", Scope.TRANSCRIBE),
    ("/v1/realtime", Scope.TRANSCRIBE),
    ("/transcribe", Scope.TRANSCRIBE),
    ("/asr", Scope.TRANSCRIBE),
    ("/detect-language", Scope.TRANSCRIBE),
    ("/pad", Scope.TRANSCRIBE),
    ("/llm", Scope.LLM),
    ("/v1/chat/", Scope.LLM),
    ("/v1/jobs", Scope.JOBS),
    ("/v1/uploads", Scope.JOBS),
    ("/v1/webhooks", Scope.JOBS),
    ("/v1/files", Scope.JOBS),
    ("/v1/batches", Scope.JOBS),
    ("/metrics", Scope.ADMIN),
)
"""Beginnings of paths; the first that fits counts. Others need no scope."""


def scope_of(path: str) -> Scope | None:
    """The scope that a request to ``path`` needs."""
    return next((scope for start, scope in _PATHS if path.startswith(start)), None)


def check_scope(key: ApiKey, path: str) -> None:
    """
    Raises:
        Forbidden: ``key`` does not allow ``path``.
    """
    needed = scope_of(path)
    if needed is not None and needed not in key.scopes:
        raise Forbidden(
            f"The key '{key.name}' does not have the scope '{needed}' that {path} needs; it has "
            f"{', '.join(sorted(key.scopes)) or 'none'}."
        )
