"""Client secrets: keys for one purpose and a short time, which a web page may hold.

A secret contains what it allows, and is signed. So nothing is kept of it, and each of several
servers with the same keys accepts the secrets that the others made.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from reflector_gpu.errors import InvalidRequest
from reflector_gpu.realtime.configuration import Configuration

PREFIX = "ek_"
"""Browser SDKs refuse other keys."""

_LONGEST = 6000  # characters; it travels in a header, and proxies take 8 KB of them
_SIGNATURE = 43  # characters in front of the rest


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """Opens sessions that begin with ``configuration``, on the account of ``client``.

    If a named key made it, ``key_id``, it is not valid after that key is revoked.
    """

    value: str
    expires_at: int
    client: str
    configuration: Configuration
    key_id: str | None = None


class ClientSecrets:
    """Makes secrets, and recognises them."""

    def __init__(self, keys: Sequence[str] = (), clock: Callable[[], float] = time.time) -> None:
        """``keys`` are those of the server. If they change, all secrets end.

        Without any, they end with this object, and nobody else knows them.
        """
        basis = "\0".join(keys).encode() if keys else secrets.token_bytes(32)
        self._key = hmac.digest(basis, b"reflector-gpu: client secrets", sha256)
        self._clock = clock

    def create(
        self, client: str, configuration: Configuration, seconds: int, key_id: str | None = None
    ) -> ClientSecret:
        """A secret of ``client`` that is valid for so many ``seconds``, however often it is used.

        Raises:
            InvalidRequest: the configuration is too long for it.
        """
        expires_at = int(self._clock()) + seconds
        told = [
            secrets.token_urlsafe(8),  # so that no two are the same
            expires_at,
            client,
            key_id,
            configuration.model_dump_json(exclude_unset=True),
        ]
        said = urlsafe_b64encode(zlib.compress(json.dumps(told).encode())).decode().rstrip("=")
        value = f"{PREFIX}{self._signature(said)}{said}"
        if len(value) > _LONGEST:
            raise InvalidRequest(
                f"The session's settings make a client secret of {len(value)} characters, and it "
                f"can have {_LONGEST}: leave a long prompt and keywords to session.update.",
                param="session",
            )
        return ClientSecret(value, expires_at, client, configuration, key_id)

    def find(self, value: str) -> ClientSecret | None:
        """The secret with this ``value``, while it is valid."""
        signature, said = value[len(PREFIX) :][:_SIGNATURE], value[len(PREFIX) + _SIGNATURE :]
        if not value.startswith(PREFIX) or not hmac.compare_digest(
            signature.encode(), self._signature(said).encode()
        ):
            return None
        _, expires_at, client, key_id, told = json.loads(
            zlib.decompress(urlsafe_b64decode(f"{said}==="))
        )
        if expires_at <= self._clock():
            return None
        configuration = Configuration.model_validate_json(told)
        return ClientSecret(value, expires_at, client, configuration, key_id)

    def _signature(self, said: str) -> str:
        signature = hmac.digest(self._key, said.encode(), sha256)
        return urlsafe_b64encode(signature).decode().rstrip("=")
