"""The server that ``serve`` runs: it says when it is ready, and ends well when asked to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from reflector_gpu.api.app import app_over
from reflector_gpu.api.metrics import Metrics
from reflector_gpu.api.server import Config, ConnectionLimits, Server
from reflector_gpu.cli.listen import url_of
from reflector_gpu.errors import ReflectorError
from reflector_gpu.service import Service
from reflector_gpu.store.accounts import Accounts
from reflector_gpu.wyoming.server import WyomingServer

logger = logging.getLogger(__name__)

Beside: TypeAlias = tuple[WyomingServer, socket.socket]
"""Another server in the same event loop, and where it listens."""

_POLL_SECONDS = 0.1


def server_of(
    service: Service,
    metrics: Metrics,
    url: str,
    ready_file: Path | None,
    wyoming: socket.socket | None,
    began: float,
) -> Server:
    """The server for ``service``, which began to start at ``began`` on the monotonic clock.

    Wyoming's clients are served where ``wyoming`` listens.

    Raises:
        ReflectorError: the settings do not work together.
    """
    app, settings = app_over(service, metrics), service.settings
    beside: Beside | None = None
    if wyoming:
        accounts: Accounts | None = app.state.accounts
        asks = lambda: accounts is not None and accounts.keys.used  # noqa: E731
        beside = WyomingServer(service, asks), wyoming
    config = Config(app, ConnectionLimits.of(settings), settings.shutdown_seconds)
    return _Server(config, service, url, ready_file, beside, began)


class _Server(Server):
    """A server that says when it is ready, and that ends well when it is asked to stop."""

    def __init__(
        self,
        config: Config,
        service: Service,
        url: str,
        ready_file: Path | None,
        beside: Beside | None,
        began: float,
    ) -> None:
        super().__init__(config)
        self._beside = beside
        self._service = service
        self._url = url
        self._ready_file = ready_file
        self._began = began
        self._announcement: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._beside:
            wyoming, listener = self._beside
            await wyoming.start(listener)
            logger.info("Wyoming at %s", url_of(listener).replace("http", "tcp"))
        self._announcement = asyncio.create_task(self._announce())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._announcement:
            self._announcement.cancel()
        if self._ready_file:
            self._ready_file.unlink(missing_ok=True)
        seconds = self.config.timeout_graceful_shutdown
        logger.info("Stopping; running requests have %d s, Ctrl-C again stops at once", seconds)
        if self._beside:
            await self._beside[0].close()
        await super().shutdown(sockets)
        if self.force_exit:  # Ctrl-C again; uvicorn would leave everything as it is
            for task in self.server_state.tasks:
                task.cancel()
            await self.lifespan.shutdown()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Uvicorn's own raises the signal once more at the end, to die of it.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield

    async def _announce(self) -> None:
        while not self._ready():  # noqa: ASYNC110  pools tell threads, not event loops
            await asyncio.sleep(_POLL_SECONDS)
        logger.info("Ready at %s after %.1f s", self._url, time.monotonic() - self._began)
        if self._ready_file:
            # Written beside and moved, so that the file is complete as soon as it exists.
            beside = self._ready_file.with_name(f".{self._ready_file.name}.{os.getpid()}")
            beside.write_text(f"{self._url}\n")
            beside.replace(self._ready_file)

    def _ready(self) -> bool:
        with suppress(ReflectorError):
            self._service.check_ready()
            return True
        return False
