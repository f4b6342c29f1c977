"""The application on Ray Serve: ``serve run reflector_gpu.deploy.ray_app:app``.

The ingress is the usual server, several times: it authenticates, decodes and chunks on CPUs. Only
its workers differ: each is a call of a deployment whose replicas hold an engine and, if need be, a
share of a GPU (`deploy.on_ray.calls`, `deploy.on_ray.engines`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from ray import serve
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reflector_gpu.api.app import create_app
from reflector_gpu.deploy.on_ray.calls import Handle, workers
from reflector_gpu.deploy.on_ray.engines import EngineReplica, name_of, named
from reflector_gpu.deploy.on_ray.options import (
    SERVER,
    SHARED,
    Options,
    calls,
    chosen,
    deployments,
    ongoing,
)
from reflector_gpu.deploy.on_ray.settings import load_ray_settings
from reflector_gpu.deploy.on_ray.shared import Share, Shared, SharedHandle
from reflector_gpu.deploy.served import served
from reflector_gpu.service import Service
from reflector_gpu.settings import load_settings


class Ingress:
    """The server. Serve builds the application where the replica runs."""

    def __init__(self, handles: dict[str, Handle], shared: SharedHandle | None) -> None:
        """``handles`` reach the deployments of engines, by their names. ``shared`` reaches the one
        that has what all servers share, if they do."""
        self._handles = handles
        self._shared = shared

    def __serve_build_asgi_app__(self) -> FastAPI:
        given = load_ray_settings()
        settings = served(max(1, round(given.ingress_cpus)))
        elsewhere = {}
        for name, handle in self._handles.items():
            model = named(name, settings)
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
    """The application, as the ``import_path`` of a Serve configuration names it.

    Its only argument is ``engines``: the names of the deployments of engines.

    Raises:
        ReflectorError: a setting does not work.
    """
    served(1)  # a server without a key fails here, and not in every replica
    settings, given = load_settings(), load_ray_settings()
    models = chosen((args or {}).get("engines"), settings)
    options = deployments(models, settings, given)
    engines = {
        name: serve.deployment(EngineReplica)
        .options(name=name, **options[name])
        .bind(name, ongoing(model, settings, given))
        for model in models
        for name in (name_of(model),)
    }
    ingress = serve.deployment(serve.ingress()(Ingress)).options(name=SERVER, **options[SERVER])
    return ingress.bind(engines, shared(options))


def shared(options: Mapping[str, Options]) -> serve.Application | None:
    """The deployment of what all servers share, if ``options`` have it."""
    if SHARED not in options:
        return None
    return serve.deployment(Shared).options(name=SHARED, **options[SHARED]).bind()
