"""Who may ask: the key in a header, or an address that needs none."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterator, Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from reflector_gpu.api.errors import error_response
from reflector_gpu.api.request_record import record_of
from reflector_gpu.errors import Unauthorized
from reflector_gpu.networks import Caller, Trust
from reflector_gpu.settings import Settings

_BARE_HEADERS = (b"api-key", b"x-api-key")
"""Headers that hold a key and nothing else: Azure's, and what many gateways send."""


class Access:
    """Decides about requests by their headers and their peer, before a byte of the body is read.

    The ASGI server must tell the peer's own address, as uvicorn does with ``proxy_headers=False``:
    what it reads from headers anybody may have written.
    """

    def __init__(self, settings: Settings, trust: Trust) -> None:
        self._keys = [key.encode() for key in settings.keys]
        self._open = settings.open_to_all
        self._trust = trust

    def caller(self, scope: Scope) -> Caller:
        """Who sends the request."""
        return self._trust.caller(_peer(scope), Headers(scope=scope).getlist("x-forwarded-for"))

    def check(self, scope: Scope, caller: Caller) -> str:
        """The name under which the client's work is counted; empty where all clients are one.

        Raises:
            Unauthorized: no key, or a wrong one, and no address that needs none.
        """
        details = record_of(scope).details
        sent = list(_keys_in(scope))
        if self._keys and (number := self._number_of(sent)) is not None:
            details["key"] = str(number)
            return f"key {number}"
        if sent:
            details["key"] = "wrong" if self._keys else "ignored"
        if self._open:
            return ""
        # A key that is wrong does no harm here, where none would do. Reflector's own compose file
        # sends one that was made up ("selfhosted") with speech, and none with translations.
        if caller.trusted:
            return caller.address
        raise Unauthorized(self._refusal(scope, sent, caller))

    def _number_of(self, sent: Sequence[bytes]) -> int | None:
        """Which of our keys is among those sent."""
        # Every key is compared, each in constant time: how long it takes tells nothing.
        found = [hmac.compare_digest(one, known) for one in sent for known in self._keys]
        return found.index(True) % len(self._keys) if any(found) else None

    def _refusal(self, scope: Scope, sent: Sequence[bytes], caller: Caller) -> str:
        if not self._keys:
            return (
                f"Your address ({caller.address or 'unknown'}) is in no network that this server "
                "trusts, and it has no key that you could send. Its operator can add the address "
                "to REFLECTOR_TRUSTED_NETWORKS, or set REFLECTOR_APIKEY."
            )
        if sent:
            return "Incorrect API key provided."
        if any(name == b"authorization" and value for name, value in scope["headers"]):
            return "The Authorization header must have the form 'Bearer <key>'."
        return "No API key given: send the header 'Authorization: Bearer <key>'."


class RequireKey:
    """Lets a request through if `Access` does. Paths in ``open_paths`` need no key.

    Whose work it is goes into ``request.state.client``.
    """

    def __init__(self, app: ASGIApp, access: Access, open_paths: Collection[str]) -> None:
        self._app = app
        self._access = access
        self._open = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            caller = self._access.caller(scope)
            record_of(scope).details["client"] = caller.address or "unknown"
            if scope["path"] not in self._open:
                try:
                    client = self._access.check(scope, caller)
                except Unauthorized as error:
                    await error_response(error)(scope, receive, send)
                    return
                scope.setdefault("state", {})["client"] = client
        await self._app(scope, receive, send)


def _keys_in(scope: Scope) -> Iterator[bytes]:
    """The very bytes of the keys that a request has: more than one, if a gateway adds its own."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            if scheme.lower() == b"bearer" and key.strip():
                yield key.strip()
        elif name in _BARE_HEADERS and value.strip():
            yield value.strip()


def _peer(scope: Scope) -> str | None:
    """The other end of the connection; a Unix socket's has no address."""
    client = scope.get("client")
    return client[0] if client else None
