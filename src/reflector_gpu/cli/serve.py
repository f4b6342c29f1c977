"""``serve``: uvicorn around the app, with a banner, one log and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from reflector_gpu import logs
from reflector_gpu.api.app import create_app
from reflector_gpu.api.server import Config, ConnectionLimits, Server
from reflector_gpu.cli import banner
from reflector_gpu.cli.listen import listen, url_of
from reflector_gpu.errors import ConfigurationError, ReflectorError
from reflector_gpu.service import Service
from reflector_gpu.settings import load_settings
from reflector_gpu.store.accounts import Accounts
from reflector_gpu.store.configured import has_keys
from reflector_gpu.wyoming.server import WyomingServer

logger = logging.getLogger(__name__)

Beside: TypeAlias = tuple[WyomingServer, socket.socket]
"""Another server in the same event loop, and where it listens."""

_POLL_SECONDS = 0.1


def run(ready_file: Path | None, **overrides: object) -> None:
    """Serve until a signal says stop. Wyoming's clients are served on a port of their own.

    Raises:
        ReflectorError: the settings do not work, or the port cannot be used.
    """
    settings = load_settings(**overrides)
    named_keys = has_keys(settings)
    settings.check_exposed(named_keys=named_keys)
    app = create_app(settings)
    service: Service = app.state.service
    for model in service.configured:
        if not service.may_download(model):
            model.check_installed()
    if ready_file:
        _clear(ready_file)
    with ExitStack() as sockets:
        listener = sockets.enter_context(listen(settings.host, settings.port))
        beside: Beside | None = None
        if settings.wyoming is not None:
            there = sockets.enter_context(listen(settings.host, settings.wyoming))
            accounts: Accounts | None = app.state.accounts
            beside = (
                WyomingServer(service, lambda: accounts is not None and accounts.keys.used),
                there,
            )
        logs.configure(logs.LogOptions(settings.log_level, settings.log_format))
        url = url_of(listener)
        if settings.log_format == "text":
            banner.show(settings, service, url, named_keys=named_keys)
        limits = ConnectionLimits.of(settings)
        config = Config(app, limits, settings.shutdown_seconds)
        server = _Server(config, service, url, ready_file, beside)
        server.run(sockets=[listener])
    if not server.started:
        sys.exit(1)


class _Server(Server):
    """A server that says when it is ready, and that ends well when it is asked to stop."""

    def __init__(
        self,
        config: Config,
        service: Service,
        url: str,
        ready_file: Path | None,
        beside: Beside | None,
    ) -> None:
        super().__init__(config)
        self._beside = beside
        self._service = service
        self._url = url
        self._ready_file = ready_file
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
        began = time.monotonic()
        while not self._ready():  # noqa: ASYNC110  pools tell threads, not event loops
            await asyncio.sleep(_POLL_SECONDS)
        logger.info("Ready at %s after %.1f s", self._url, time.monotonic() - began)
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


def _clear(ready_file: Path) -> None:
    """Remove what an earlier server left, so that nobody takes it for this one's.

    Raises:
        ConfigurationError: no file can be written there.
    """
    folder = ready_file.parent
    if ready_file.exists() and not ready_file.is_file():
        raise ConfigurationError(f"--ready-file {ready_file} is not a regular file.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigurationError(f"--ready-file: {folder} is not a folder that can be written to.")
    ready_file.unlink(missing_ok=True)
