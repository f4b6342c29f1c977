"""What a class of requests, or a client, may have in work, and what a client has."""

from __future__ import annotations

import math
from dataclasses import dataclass

from reflector_gpu.runtime.last_hour import HOUR
from reflector_gpu.settings import Settings

_HOURLY_AUDIO = 100 * HOUR  # more than a machine without GPUs transcribes in an hour


@dataclass(frozen=True, slots=True)
class Limits:
    """What a class of requests, or a client, may have in work."""

    requests: float = math.inf
    audio_seconds: float = math.inf


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Use:
    """The requests that a client has in work, and its seconds of audio of the last hour."""

    requests: int = 0
    audio_seconds: float = 0.0

    def __add__(self, other: Use) -> Use:
        return Use(self.requests + other.requests, self.audio_seconds + other.audio_seconds)


_FEWEST = 2
"""Requests that each client may have at once however few places there are: an upload and a URL."""


def each_client(settings: Settings) -> Limits:
    """What one client may take. Where there can be no other client, it may take everything."""
    requests, seconds = settings.key_requests, settings.key_hourly_audio_seconds
    alone = _sole_client(settings)
    if requests is None:
        places = settings.live_requests + settings.file_requests
        requests = 0 if alone else max(_FEWEST, places // 2)
    if seconds is None:
        seconds = 0 if alone else _HOURLY_AUDIO
    return Limits(requests or math.inf, seconds or math.inf)


def _sole_client(settings: Settings) -> bool:
    """Whether all requests count as one client's: there is one key, or only this machine calls."""
    if settings.keys:
        return len(settings.keys) == 1 and not settings.trusted_networks
    return settings.open_to_all and settings.loopback and not settings.trusted_proxies
