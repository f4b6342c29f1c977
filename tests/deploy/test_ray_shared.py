"""What servers on Ray tell each other about their clients. Ray is not needed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace

from starlette.types import Receive, Scope, Send

from reflector_gpu.deploy.on_ray.shared import Share
from reflector_gpu.errors import Overloaded
from reflector_gpu.runtime.admission import Admission
from reflector_gpu.runtime.limits import UNLIMITED, Limits, Use
from reflector_gpu.types import Priority


def test_an_error_that_nobody_expects_does_not_end_the_exchange() -> None:
    """Or else what others had in work at that time would count for ever."""
    admission = Admission(dict.fromkeys(Priority, UNLIMITED), Limits(requests=1))
    refused: list[bool] = []

    async def run() -> None:
        enough = asyncio.Event()

        async def exchange(*_: object) -> Mapping[str, Use]:
            try:
                admission.check(Priority.LIVE, "a client")
            except Overloaded:
                refused.append(True)
            else:
                refused.append(False)
            if len(refused) == 3:
                enough.set()
            if len(refused) == 2:
                raise TypeError("a bug")
            return {"a client": Use(requests=1)}

        async def app(*_: object) -> None:
            await enough.wait()

        async def none() -> dict[str, str]:
            raise NotImplementedError

        handle = SimpleNamespace(exchange=SimpleNamespace(remote=exchange))
        share = Share(app, handle, admission)
        receive: Receive = none
        send: Send = app
        scope: Scope = {"type": "lifespan"}
        async with asyncio.timeout(60):
            await share(scope, receive, send)

    asyncio.run(run())
    assert refused == [False, True, False]
