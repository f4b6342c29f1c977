"""Named keys: made, listed and revoked while the server runs. Only their hashes are kept."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from reflector_gpu.errors import InvalidRequest, NotFound
from reflector_gpu.store.database import Connection, Database, Row
from reflector_gpu.store.repeated import repeat

PREFIX = "rgpu-"
"""What keys begin with, so that people and scanners of leaks recognise them."""

_REFRESH_SECONDS = 1.0
_LONGEST_NAME = 64


class Scope(StrEnum):
    """What a key may do."""

    TRANSCRIBE = "transcribe"
    DIARIZE = "diarize"
    TRANSLATE = "translate"
    LLM = "llm"
    JOBS = "jobs"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret. It may use ``daily_audio_seconds`` of audio in a day of UTC."""

    id: str
    name: str
    digest: str
    scopes: frozenset[Scope]
    daily_audio_seconds: float | None
    created: float
    revoked: float | None

    @classmethod
    def of(cls, row: Row) -> ApiKey:
        limit, revoked = row["daily_audio_seconds"], row["revoked"]
        return cls(
            str(row["id"]),
            str(row["name"]),
            str(row["digest"]),
            frozenset(map(Scope, str(row["scopes"]).split())),
            None if limit is None else float(limit),
            float(row["created"] or 0),
            None if revoked is None else float(revoked),
        )


class KeyRing:
    """The keys of a server. What changes in the database counts a second later."""

    def __init__(self, database: Database) -> None:
        """Reads the keys.

        Raises:
            Unavailable: the database does not answer.
        """
        self._database = database
        self._refreshing: asyncio.Task[None] | None = None
        self._known: dict[str, ApiKey] = {}
        self._revoked: set[str] = set()
        self._names: dict[str, str] = {}
        self.used = False
        """Whether there is a key, or was one: then only trusted networks come in without any."""
        self._take(database.write_now(all_keys))

    def start(self) -> None:
        self._refreshing = asyncio.create_task(
            repeat(self._refresh, _REFRESH_SECONDS, "the keys could not be read")
        )

    def close(self) -> None:
        if self._refreshing:
            self._refreshing.cancel()

    def find(self, sent: Iterable[bytes]) -> ApiKey | None:
        """The first key that we know of those that were ``sent``."""
        # An attacker who measures how long this takes learns about hashes of guesses only.
        found = (self._known.get(digest_of(key)) for key in sent)
        return next(filter(None, found), None)

    def of(self, key_id: str | None) -> ApiKey | None:
        """The key with this id, unless it was revoked."""
        return next((key for key in self._known.values() if key.id == key_id), None)

    def name_of(self, key_id: str) -> str | None:
        """The name of the key with this id, even if it was revoked."""
        return self._names.get(key_id)

    def is_revoked(self, key_id: str) -> bool:
        """Whether this is a key that was revoked, as far as is known."""
        return key_id in self._revoked

    def _take(self, keys: Collection[ApiKey]) -> None:
        self.used = bool(keys)
        self._known = {key.digest: key for key in keys if key.revoked is None}
        self._names = {key.id: key.name for key in keys}
        self._revoked = {key.id for key in keys if key.revoked is not None}

    async def _refresh(self) -> None:
        self._take(await self._database.read(all_keys))


def all_keys(connection: Connection) -> list[ApiKey]:
    """All keys, also those that were revoked."""
    return [ApiKey.of(row) for row in connection.rows("SELECT * FROM api_keys ORDER BY created")]


def create(
    connection: Connection,
    name: str,
    scopes: Iterable[Scope],
    daily_audio_seconds: float | None = None,
) -> str:
    """A new key. This is the only time that its secret is known.

    Raises:
        InvalidRequest: the name is another key's, or is not valid.
    """
    if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidRequest(f"A key has a name of 1 to {_LONGEST_NAME} printable characters.")
    if any(key.name == name and key.revoked is None for key in all_keys(connection)):
        raise InvalidRequest(f"There is a key '{name}' already; revoke it, or take another name.")
    secret = f"{PREFIX}{secrets.token_urlsafe(32)}"
    connection.change(
        "INSERT INTO api_keys (id, name, digest, scopes, daily_audio_seconds, created)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        f"key_{secrets.token_hex(8)}",
        name,
        digest_of(secret.encode()),
        " ".join(sorted(scopes)),
        daily_audio_seconds,
        time.time(),
    )
    return secret


def revoke(connection: Connection, name: str) -> None:
    """End a key.

    Raises:
        NotFound: there is none that is not revoked yet.
    """
    if not connection.change(
        "UPDATE api_keys SET revoked = ? WHERE name = ? AND revoked IS NULL", time.time(), name
    ):
        if any(key.name == name for key in all_keys(connection)):
            raise NotFound(f"The key '{name}' is revoked already.")
        raise NotFound(f"There is no key '{name}'; `reflector-gpu keys list` shows them.")


def digest_of(key: bytes) -> str:
    """How a key is kept. It is long and random, so nobody can guess it, and a quick hash is
    enough."""
    return hashlib.sha256(key).hexdigest()
