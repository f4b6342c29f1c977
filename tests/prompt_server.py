"""The server of the product, stopped without delay."""

from __future__ import annotations

import asyncio
import socket

from reflector_gpu.api.server import Server


class PromptServer(Server):
    """Notices at once that it should exit, and waits for nobody if nobody is connected.

    Uvicorn looks every tenth of a second, and waits for another tenth in any case. Tests stop
    hundreds of servers.
    """

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.01)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        for server in self.servers:
            server.close()
        await self.lifespan.shutdown()
