"""Authentication: by a key in a header, or by an address that needs none."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Iterator, Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from reflector_gpu.api.request_record import record_of
from reflector_gpu.api.scopes import check_scope
from reflector_gpu.api.websockets import refuse, subprotocol_keys
from reflector_gpu.errors import Forbidden, OriginForbidden, Overloaded, Unauthorized
from reflector_gpu.networks import Caller, Trust
from reflector_gpu.realtime.client_secrets import ClientSecret, ClientSecrets
from reflector_gpu.settings import Settings
from reflector_gpu.store.accounts import Accounts

OPENED_BY = "client_secret"
"""Where the state of a request has the client secret that it was sent with, if it was."""

INTERNAL = "reflector_gpu.owner"
"""Where the scope of a request has its owner, if this server itself has made it. No client can set
that."""

NAMED_KEY = "api_key"
"""Where the state of a request has the named key that it was sent with, if it was."""

_FOR_SECRETS = re.compile(r"/v1/realtime(/calls(/[^/]+/hangup)?)?")
"""Paths where a client secret counts as a key."""

_BARE_HEADERS = (b"api-key", b"x-api-key")
"""Headers that hold nothing but a key: Azure's, and the one that many gateways send."""


class Access:
    """Decides whether to let a request in, by its headers and its peer.

    No byte of the body has been read by then. The ASGI server must give the peer's own address, as
    uvicorn does with ``proxy_headers=False``, because anybody can write a header.
    """

    def __init__(
        self,
        settings: Settings,
        trust: Trust,
        client_secrets: ClientSecrets | None = None,
        accounts: Accounts | None = None,
    ) -> None:
        """``accounts`` has the named keys, and what each has used."""
        self._keys = [
            (number, written)
            for number, key in enumerate(settings.keys)
            for written in _written(key)
        ]
        self._owners = {_client_of(n): _owner_of(key) for n, key in enumerate(settings.keys)}
        self._open_to_all = settings.open_to_all
        self._accounts = accounts
        self._origins = frozenset(settings.cors_origins)
        self._trust = trust
        self._secrets = client_secrets or ClientSecrets()

    def caller(self, scope: Scope) -> Caller:
        """The sender of the request."""
        return self._trust.caller(_peer(scope), Headers(scope=scope).getlist("x-forwarded-for"))

    def check(self, scope: Scope, caller: Caller) -> str:
        """The name under which the client's work is counted; empty if its address is unknown.

        Raises:
            Unauthorized: the key is missing or wrong, and the address needs one.
            Forbidden: the key has not the scope for this.
            QuotaExceeded: the key has used its share of the day.
            OriginForbidden: a page of another origin opens a WebSocket without a key.
        """
        details = record_of(scope).details
        keys = list(_keys_in(scope))
        if secret := self._secret_in(scope, keys):
            details["key"] = "client secret"
            if self._accounts and secret.key_id:
                self._accounts.check_quota(secret.key_id)
            return secret.client
        if self._keys and (number := self._number_of(keys)) is not None:
            details["key"] = str(number)
            return _client_of(number)
        if self._accounts and (named := self._accounts.keys.find(keys)):
            details["key"] = named.name
            scope.setdefault("state", {})[NAMED_KEY] = named
            check_scope(named, scope["path"])
            if _asks_for_work(scope):
                self._accounts.check_quota(named.id)
            return _client_of(named.id)
        if keys:
            details["key"] = "wrong" if self._keyed else "ignored"
        # A wrong key does no harm where none is needed. Reflector's own compose file sends a
        # made-up one ("selfhosted") with speech, and none with translations.
        if self._open or caller.trusted:
            if scope["type"] == "websocket":
                self._check_origin(Headers(scope=scope))
            return caller.client
        raise Unauthorized(self._refusal(scope, keys, caller))

    def owner(self, client: str) -> str:
        """The owner of what ``client`` leaves here; see `check`.

        It stays the same when the server starts again, even with more keys. All who need no key
        are one owner.
        """
        return self._owners.get(client) or client.partition(_client_of(""))[2]

    def count(self, scope: Scope, owner: str) -> None:
        """Count a request of ``owner``, unless it only looks at something, as consoles often do."""
        if self._accounts and _asks_for_work(scope):
            self._accounts.usage.request(owner)

    @property
    def _keyed(self) -> bool:
        """Whether there are keys. Named ones count even if all of them were revoked."""
        return bool(self._keys) or (self._accounts is not None and self._accounts.keys.used)

    @property
    def _open(self) -> bool:
        return self._open_to_all and not self._keyed

    def _secret_in(self, scope: Scope, keys: Sequence[bytes]) -> ClientSecret | None:
        """The client secret that was sent, where one counts. The route finds it in its state."""
        if not _FOR_SECRETS.fullmatch(scope["path"]):
            return None
        found = (self._secrets.find(key.decode("latin-1")) for key in keys)
        secret = next(filter(None, found), None)
        if (
            secret
            and secret.key_id
            and not (self._accounts and self._accounts.keys.of(secret.key_id))
        ):
            return None  # the key that made it was revoked
        scope.setdefault("state", {})[OPENED_BY] = secret
        return secret

    def _check_origin(self, headers: Headers) -> None:
        """Raise `OriginForbidden` for a page that may not read our answers.

        Browsers check that for requests, but not for WebSockets. So any page could have the browser
        of somebody on a trusted network open one.
        """
        origin = headers.get("origin")
        own = origin is not None and origin.partition("://")[2] == headers.get("host")
        if origin is None or own or not self._origins.isdisjoint((origin, "*")):
            return
        raise OriginForbidden(
            "Pages of this origin need a key. Its operator can add the origin to "
            "REFLECTOR_CORS_ORIGINS."
        )

    def _number_of(self, keys: Sequence[bytes]) -> int | None:
        """The position of the first of our keys that was sent."""
        found: int | None = None
        # Every key is compared, in constant time, so that the time taken reveals nothing.
        for key in keys:
            for number, known in self._keys:
                if hmac.compare_digest(key, known) and found is None:
                    found = number
        return found

    def _refusal(self, scope: Scope, keys: Sequence[bytes], caller: Caller) -> str:
        if not self._keyed:
            return (
                f"Your address ({caller.address or 'unknown'}) is in no network that this server "
                "trusts, and it has no key that you could send. Its operator can add the address "
                "to REFLECTOR_TRUSTED_NETWORKS, or set REFLECTOR_APIKEY."
            )
        if keys:
            return "Incorrect API key provided."
        if any(name == b"authorization" and value for name, value in scope["headers"]):
            return "The Authorization header must have the form 'Bearer <key>'."
        return "No API key given: send the header 'Authorization: Bearer <key>'."


class RequireKey:
    """Middleware that answers a request itself unless `Access` lets it in.

    Paths in ``open_paths`` need no key. ``request.state.client`` gets the client's name, and
    ``request.state.owner`` the owner of what it leaves here. Both are missing where `Access` would
    have refused the client.
    """

    def __init__(self, app: ASGIApp, access: Access, open_paths: Collection[str]) -> None:
        self._app = app
        self._access = access
        self._open = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if INTERNAL in scope:
            scope.setdefault("state", {}).update(
                client=f"batches of {scope[INTERNAL]}", owner=scope[INTERNAL]
            )
            self._access.count(scope, scope[INTERNAL])
        elif scope["type"] in ("http", "websocket"):
            caller = self._access.caller(scope)
            record_of(scope).details["client"] = caller.address or "unknown"
            try:
                client = self._access.check(scope, caller)
            except (Unauthorized, Forbidden, Overloaded, OriginForbidden) as error:
                if scope["path"] not in self._open:
                    await refuse(error, scope, receive, send)
                    return
            else:
                state = scope.setdefault("state", {})
                state["client"] = client
                state["owner"] = owner = self._access.owner(client)
                self._access.count(scope, owner)
        await self._app(scope, receive, send)


def _asks_for_work(scope: Scope) -> bool:
    return bool(scope.get("method", "POST") == "POST")  # a WebSocket has no method


def _client_of(number: int | str) -> str:
    return f"key {number}"


def _owner_of(key: str) -> str:
    return f"key-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _written(key: str) -> set[bytes]:
    """How clients may send ``key``: curl sends UTF-8, browsers and Python's requests Latin-1."""
    try:
        return {key.encode(), key.encode("latin-1")}
    except UnicodeEncodeError:
        return {key.encode()}


def _keys_in(scope: Scope) -> Iterator[bytes]:
    """The keys in a request's headers, byte by byte. A gateway may have added one of its own."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            if scheme.lower() == b"bearer" and key.strip():
                yield key.strip()
        elif name in _BARE_HEADERS and value.strip():
            yield value.strip()
        elif name == b"sec-websocket-protocol" and scope["type"] == "websocket":
            yield from subprotocol_keys(value)


def _peer(scope: Scope) -> str | None:
    """The address of the other end of the connection; None for a Unix socket."""
    client = scope.get("client")
    return client[0] if client else None
