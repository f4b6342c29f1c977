"""The applications on Ray Serve, which a configuration names: `app` and `engine`.

`app` is the usual server, several times: it authenticates, decodes and chunks on CPUs. Only its
workers differ: each is a call of a deployment whose replicas hold an engine and, if need be, a
share of a GPU (`deploy.on_ray.calls`, `deploy.on_ray.engines`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from ray import serve
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reflector_gpu.api.app import create_app
from reflector_gpu.deploy.on_ray.calls import workers
from reflector_gpu.deploy.on_ray.engines import EngineReplica, name_of, named
from reflector_gpu.deploy.on_ray.options import (
    APPLICATION,
    SERVER,
    SHARED,
    Options,
    calls,
    chosen,
    deployments,
    engine_options,
    ongoing,
)
from reflector_gpu.deploy.on_ray.settings import load_ray_settings
from reflector_gpu.deploy.on_ray.shared import Share, Shared, SharedHandle
from reflector_gpu.deploy.served import served
from reflector_gpu.service import Service
from reflector_gpu.settings import load_settings


class Ingress:
    """The server. Serve builds the application where the replica runs."""

    def __init__(self, engines: Sequence[str], shared: SharedHandle | None) -> None:
        """``engines`` are the names of their deployments. ``shared`` reaches the deployment that
        has what all servers share, if they do."""
        self._engines = engines
        self._shared = shared

    def __serve_build_asgi_app__(self) -> FastAPI:
        given = load_ray_settings()
        settings = served(max(1, round(given.ingress_cpus)))
        elsewhere = {}
        for name in self._engines:
            model = named(name, settings)
            # It may be deployed after this server: calls wait for it.
            handle = serve.get_deployment_handle(name, name, _check_exists=False)
            elsewhere[model.name] = workers(model, handle, calls(model, settings, given))
        server = create_app(settings, elsewhere)
        service: Service = server.state.service
        if self._shared:
            server.add_middleware(Share, shared=self._shared, admission=service.admission)
        server.add_middleware(LeaveOutRequestId)
        return server


class LeaveOutRequestId:
    """Middleware that leaves ``X-Request-ID`` out of answers: Serve's proxy adds it, the same."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def without(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                del MutableHeaders(scope=message)["x-request-id"]
            await send(message)

        await self._app(scope, receive, without)


def app(args: dict[str, Any] | None = None) -> serve.Application:
    """The servers, as the ``import_path`` of a Serve configuration names them.

    The only argument is ``engines``: the names of the deployments of engines.

    Raises:
        ReflectorError: a setting does not work.
    """
    served(1)  # a server without a key fails here, and not in every replica
    settings, given = load_settings(), load_ray_settings()
    models = chosen((args or {}).get("engines"), settings)
    options = deployments(models, settings, given)
    ingress = serve.deployment(serve.ingress()(Ingress)).options(name=SERVER, **options[SERVER])
    return ingress.bind([name_of(model) for model in models], shared(options))


def engine(args: dict[str, str]) -> serve.Application:
    """An engine, as the ``import_path`` of a Serve configuration names it.

    The only argument is ``engine``: the name of its deployment.

    Raises:
        ReflectorError: a setting does not work.
    """
    name = args["engine"]
    settings, given = load_settings(), load_ray_settings()
    model = named(name, settings)
    options = engine_options(model, settings, given)
    replica = serve.deployment(EngineReplica).options(name=name, **options)
    return replica.bind(name, ongoing(model, settings, given))


def run() -> list[str]:
    """Deploy the default engines and the servers on the cluster that this process is connected to.

    Returns the names of the applications once they can work.

    Raises:
        ReflectorError: a setting does not work.
    """
    names = [name_of(model) for model in chosen(None, load_settings())]
    engines = [serve.RunTarget(engine({"engine": name}), name, None) for name in names]
    serve.run_many([*engines, serve.RunTarget(app({"engines": names}), APPLICATION)])
    return [*names, APPLICATION]


def shared(options: Mapping[str, Options]) -> serve.Application | None:
    """The deployment of what all servers share, if ``options`` have it."""
    if SHARED not in options:
        return None
    return serve.deployment(Shared).options(name=SHARED, **options[SHARED]).bind()
