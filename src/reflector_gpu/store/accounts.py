"""Named keys and what they have used, over one database."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from reflector_gpu.errors import QuotaExceeded, Unauthorized
from reflector_gpu.store.database import Database
from reflector_gpu.store.keys import KeyRing
from reflector_gpu.store.usage import Usage


@dataclass(frozen=True, slots=True)
class Accounts:
    """Those who use the server: their keys, and what each has used."""

    keys: KeyRing
    usage: Usage

    @classmethod
    def of(cls, database: Database) -> Accounts:
        return cls(KeyRing(database), Usage(database))

    def check_key(self, owner: str) -> None:
        """
        Raises:
            Unauthorized: ``owner`` is a key that was revoked.
        """
        if self.keys.is_revoked(owner):
            raise Unauthorized("The key was revoked.")

    def check_quota(self, owner: str) -> None:
        """
        Raises:
            QuotaExceeded: ``owner`` is a key that has used its audio of this day.
        """
        key = self.keys.of(owner)
        limit = key.daily_audio_seconds if key else None
        if key and limit is not None and self.usage.audio_today(owner) >= limit:
            left = self.usage.seconds_to_tomorrow
            raise QuotaExceeded(
                f"The key '{key.name}' has used its {limit:g} seconds of audio of this day (UTC). "
                f"Try again after midnight, in {left / 3600:.1f} hours, or ask the operator for a "
                "key with more.",
                retry_after=left,
            )

    def using(self, owner: str, seconds: float) -> AbstractContextManager[None]:
        """So many ``seconds`` of audio are written down for ``owner`` in the block."""
        return self.usage.audio_elsewhere(owner, seconds)

    async def start(self) -> None:
        self.keys.start()
        await self.usage.start()

    async def aclose(self) -> None:
        self.keys.close()
        await self.usage.aclose()
