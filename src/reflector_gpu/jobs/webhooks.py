"""Tells clients' servers that their jobs have ended, in the form of Standard Webhooks 1.0.

A message is tried for a day, with longer and longer pauses. It may arrive twice if this server is
killed in between; both have the same ``webhook-id``.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import random
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx

from reflector_gpu.audio.direct import direct_transport
from reflector_gpu.audio.guard import (
    SETTING,
    URL_FIELD,
    AddressGuard,
    GuardedTransport,
    HostNotPublic,
    parse_url,
    port_of,
)
from reflector_gpu.errors import NotFound, ReflectorError, Unavailable, UpstreamTimeout
from reflector_gpu.jobs.deliveries import Deliveries, Delivery
from reflector_gpu.jobs.news import heard
from reflector_gpu.store.repeated import surviving
from reflector_gpu.version import __version__

logger = logging.getLogger(__name__)

FIRST_PAUSE = 5.0
"""Seconds until the second attempt. Each further pause is three times as long."""

_LONGEST_PAUSE = 4 * 3600.0
_TRIED_SECONDS = 24 * 3600.0
_ANSWER_SECONDS = 15.0  # that a receiver has
_LOOKUP_SECONDS = 10.0  # that a name server has while a client waits
_AT_ONCE = 64  # messages
_PER_HOST = 4
_LOOK_SECONDS = 1.0

Describe = Callable[[Delivery], Awaitable[bytes]]
"""The JSON of a message. Raises `NotFound` if its job was erased."""


class Webhooks:
    """Delivers messages, for one event loop."""

    def __init__(
        self,
        deliveries: Deliveries,
        guard: AddressGuard,
        describe: Describe,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.added = asyncio.Event()
        """There may be a message to deliver."""
        self._deliveries = deliveries
        self._guard = guard
        self._describe = describe
        self._clock = clock
        self._transport = GuardedTransport(direct_transport(), guard)
        self._hosts: Counter[str] = Counter()
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._serving = asyncio.create_task(self._serve())

    async def aclose(self) -> None:
        """Stop. What has not arrived is tried again at once by another server, or the next one."""
        tasks = [*self._tasks, *([self._serving] if self._serving else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._transport.aclose()
        with suppress(Unavailable):  # then their leases end
            await self._deliveries.release()

    async def check(self, url: str) -> None:
        """Check whether messages may be sent to ``url``.

        Raises:
            InvalidRequest: this is no absolute URL.
            UrlForbidden: it leads where the policy does not allow.
            UpstreamFailed, UpstreamTimeout: its host cannot be found.
        """
        parsed = parse_url(url)
        host = parsed.raw_host.decode("ascii")
        try:
            async with asyncio.timeout(_LOOKUP_SECONDS):
                await self._guard.resolve(host, port_of(parsed))
        except HostNotPublic as error:
            raise HostNotPublic(
                f"The webhook's host {host} is not a public one. Use a URL that can be reached from"
                f" outside; whoever runs this server can open the host with {SETTING}.",
                param=error.param,
            ) from None
        except TimeoutError:
            raise UpstreamTimeout(
                f"The webhook's host {host} cannot be looked up in time; try again later.",
                param=URL_FIELD,
            ) from None

    async def _serve(self) -> None:
        while True:
            await self._places.acquire()
            delivery = await self._next()
            self._hosts[delivery.host] += 1
            task = asyncio.create_task(self._deliver(delivery))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _next(self) -> Delivery:
        while True:
            busy = [host for host, count in self._hosts.items() if count >= _PER_HOST]
            with surviving("no webhook could be taken"):
                if delivery := await self._deliveries.take(busy):
                    return delivery
            await heard(self.added, _LOOK_SECONDS)

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            with surviving(f"a webhook of {delivery.job} was not sent"):  # again after its lease
                await self._attempt(delivery)
        finally:
            self._places.release()
            self._hosts[delivery.host] -= 1
            if not self._hosts[delivery.host]:
                del self._hosts[delivery.host]
            self.added.set()

    async def _attempt(self, delivery: Delivery) -> None:
        try:
            failure = await self._send(delivery)
        except NotFound:
            failure = None
        except ReflectorError as error:
            failure = error.message
        if failure is None:
            await self._deliveries.done(delivery)
            return
        pause = pause_after(delivery.attempts)
        if self._clock() + pause > delivery.created + _TRIED_SECONDS:
            logger.warning(
                "Webhook of %s to %s is given up: %s", delivery.job, delivery.host, failure
            )
            await self._deliveries.done(delivery)
            return
        logger.info("Webhook of %s to %s: %s", delivery.job, delivery.host, failure)
        await self._deliveries.again(delivery, pause)

    async def _send(self, delivery: Delivery) -> str | None:
        """Why the message did not arrive; None if it did."""
        body = await self._describe(delivery)
        stamp = str(int(self._clock()))
        secret = await self._deliveries.secret(delivery.owner)
        url = parse_url(delivery.url)
        request = httpx.Request(
            "POST",
            url,
            content=body,
            headers={
                "Content-Type": "application/json",
                "User-Agent": f"reflector-gpu/{__version__}",
                "webhook-id": delivery.id,
                "webhook-timestamp": stamp,
                "webhook-signature": signature(secret, delivery.id, stamp, body),
            },
            extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), 10.0)},
        )
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                response = await self._transport.handle_async_request(request)
                await response.aclose()
        except TimeoutError:
            return "it does not answer in time"
        except (httpx.TransportError, ssl.SSLError) as error:
            return f"it cannot be reached ({type(error).__name__})"
        return None if response.is_success else f"it answers {response.status_code}"


def signature(secret: str, message_id: str, stamp: str, body: bytes) -> str:
    """What proves to those who know the ``secret`` that a message is ours."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b".".join((message_id.encode(), stamp.encode(), body))
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


def pause_after(attempts: int) -> float:
    """Seconds until a message is tried again, a little by chance so that not all come at once."""
    pause = min(FIRST_PAUSE * 3.0 ** (attempts - 1), _LONGEST_PAUSE)
    return pause * random.uniform(0.8, 1.2)  # noqa: S311  no secret
