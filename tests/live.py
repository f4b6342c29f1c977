"""A real server on a loopback port, run in a thread so that a test can also look inside."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

from tests.waiting import PROGRAM_SECONDS

if TYPE_CHECKING:  # most rooms need no server, and these take a second to import
    import httpx
    from fastapi import FastAPI
    from openai import OpenAI

    from reflector_gpu.service import Service

KEY = "test-key"


class LiveServer:
    """Settings go in as keywords; the server is ready inside the ``with`` block."""

    def __init__(self, *, wait: bool = True, **given: object) -> None:
        from reflector_gpu.api.app import create_app
        from reflector_gpu.settings import load_settings

        settings = {"port": 0, "workers": 1, "shutdown_seconds": 5, **given}
        self._serve(create_app(load_settings(**settings)), wait)

    @classmethod
    def over(cls, app: FastAPI) -> LiveServer:
        """A server of an ``app`` that somebody else has made."""
        server = cls.__new__(cls)
        server._serve(app, wait=False)
        return server

    def _serve(self, app: FastAPI, wait: bool) -> None:
        from reflector_gpu.api.server import Config, ConnectionLimits
        from tests.prompt_server import PromptServer

        self._app = app
        self._wait = wait
        settings = self.service.settings
        config = Config(app, ConnectionLimits.of(settings), min(settings.shutdown_seconds, 5))
        config.port = 0
        self._server = PromptServer(config)
        self._thread = threading.Thread(target=self._server.run, name="server")

    @property
    def service(self) -> Service:
        service: Service = self._app.state.service
        return service

    @property
    def url(self) -> str:
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    @property
    def open(self) -> list[object]:
        """The connections that are open."""
        return list(self._server.server_state.connections)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._server.server_state.connections)

    def narrow(self) -> None:
        """Have the system buffer next to nothing of what later connections are sent."""
        for listener in self._server.servers[0].sockets:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    def client(self, key: str | None = KEY) -> httpx.Client:
        import httpx

        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # Without TLS there is nothing to verify, and reading all certificates takes long.
        return httpx.Client(
            base_url=self.url,
            headers=headers,
            timeout=PROGRAM_SECONDS,
            trust_env=False,
            verify=False,
        )

    def openai(self) -> OpenAI:
        from openai import DefaultHttpxClient, OpenAI

        client = DefaultHttpxClient(verify=False)
        return OpenAI(base_url=f"{self.url}/v1", api_key=KEY, max_retries=0, http_client=client)

    def __enter__(self) -> LiveServer:
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
            if not self._thread.is_alive():
                raise RuntimeError("the server did not start")
        if self._wait:
            self.service.workers.pool(self.service.recognisers.default).wait_ready(
                timeout=PROGRAM_SECONDS
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
