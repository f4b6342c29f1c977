"""Named keys and what they have used, over one database."""

from __future__ import annotations

from dataclasses import dataclass

from reflector_gpu.store.database import Database
from reflector_gpu.store.keys import KeyRing
from reflector_gpu.store.usage import Usage


@dataclass(frozen=True, slots=True)
class Kept:
    """What a server keeps about those who use it."""

    keys: KeyRing
    usage: Usage

    @classmethod
    def of(cls, database: Database) -> Kept:
        return cls(KeyRing(database), Usage(database))

    async def start(self) -> None:
        self.keys.start()
        await self.usage.start()

    async def aclose(self) -> None:
        self.keys.close()
        await self.usage.aclose()
