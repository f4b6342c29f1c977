"""Client secrets: keys for one purpose and a short time, which a web page may hold."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from reflector_gpu.errors import Overloaded
from reflector_gpu.realtime.configuration import Configuration

PREFIX = "ek_"
"""Browser SDKs refuse other keys."""

_MOST = 1000  # secrets of one client that are valid at once


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """Opens sessions that begin with ``configuration``, on the account of ``client``.

    It is worth nothing once the named key ``key_id`` is revoked, if one has made it.
    """

    value: str
    expires_at: int
    client: str
    configuration: Configuration
    key_id: str | None = None


class ClientSecrets:
    """All that are valid. They are kept in memory: a restart of the server ends them."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._known: dict[str, ClientSecret] = {}
        self.made: Callable[[ClientSecret], None] = lambda _: None
        """Is told each secret that is made, for servers beside this one."""

    def create(
        self, client: str, configuration: Configuration, seconds: int, key_id: str | None = None
    ) -> ClientSecret:
        """A secret of ``client`` that is valid for so long, as often as it is used.

        Raises:
            Overloaded: the client has too many already.
        """
        now = self._clock()
        self._known = {v: one for v, one in self._known.items() if one.expires_at > now}
        own = [one.expires_at for one in self._known.values() if one.client == client]
        if len(own) >= _MOST:
            raise Overloaded(
                f"This client has {len(own)} client secrets, which is the limit; use one of them.",
                retry_after=max(1.0, min(own) - now),
            )
        value = f"{PREFIX}{secrets.token_urlsafe(32)}"
        made = ClientSecret(value, int(now) + seconds, client, configuration, key_id)
        self._known[value] = made
        self.made(made)
        return made

    def add(self, secret: ClientSecret) -> None:
        """Know a secret that another server has made."""
        self._known[secret.value] = secret

    def find(self, value: str) -> ClientSecret | None:
        """The secret with this ``value``, while it is valid."""
        found = self._known.get(value)
        return found if found and found.expires_at > self._clock() else None
