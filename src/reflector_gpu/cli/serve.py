"""``serve``: uvicorn around the app, with a banner, one log and an orderly end.

Engines take longest to load, so their processes start first. Meanwhile this one imports the API.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from reflector_gpu import logs
from reflector_gpu.api.metrics import Metrics
from reflector_gpu.cli import banner
from reflector_gpu.cli.listen import listen, url_of
from reflector_gpu.errors import ConfigurationError
from reflector_gpu.service import Service
from reflector_gpu.settings import load_settings
from reflector_gpu.store.configured import has_keys


def run(ready_file: Path | None, **overrides: object) -> None:
    """Serve until a signal says stop. Wyoming's clients are served on a port of their own.

    Raises:
        ReflectorError: the settings do not work, or the port cannot be used.
    """
    began = time.monotonic()
    settings = load_settings(**overrides)
    named_keys = has_keys(settings)
    settings.check_exposed(named_keys=named_keys)
    metrics = Metrics()
    service = Service(settings, watcher=metrics)
    for model in service.configured:
        if not service.may_download(model):
            model.check_installed()
    if ready_file:
        _clear(ready_file)
    with ExitStack() as sockets:
        listener = sockets.enter_context(listen(settings.host, settings.port))
        wyoming: socket.socket | None = None
        if settings.wyoming is not None:
            wyoming = sockets.enter_context(listen(settings.host, settings.wyoming))
        logs.configure(logs.LogOptions(settings.log_level, settings.log_format))
        url = url_of(listener)
        if settings.log_format == "text":
            banner.show(settings, service, url, named_keys=named_keys)
        service.load()
        try:
            from reflector_gpu.cli.serving import server_of  # it takes as long as they do

            server = server_of(service, metrics, url, ready_file, wyoming, began)
        except BaseException:
            asyncio.run(service.close())
            raise
        server.run(sockets=[listener])
    if not server.started:
        sys.exit(1)


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
