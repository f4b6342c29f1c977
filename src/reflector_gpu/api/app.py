"""The web application over one `Service`."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware.cors import CORSMiddleware

from reflector_gpu.api import errors
from reflector_gpu.api.access import Access, RequireKey
from reflector_gpu.api.batch_kind import KIND, BatchKind
from reflector_gpu.api.intake import Intake
from reflector_gpu.api.job_kinds import kinds_of
from reflector_gpu.api.job_views import webhook_body
from reflector_gpu.api.metrics import Metrics
from reflector_gpu.api.middleware import AnswerFailures, Observe, RefuseTwoLengths
from reflector_gpu.api.route_table import RouteTable
from reflector_gpu.api.routes import (
    asr,
    batches,
    calls,
    completion,
    console,
    diarization,
    docs,
    jobs,
    models,
    operations,
    padding,
    realtime,
    speakers,
    transcription,
    translation,
    uploads,
    usage,
    webhooks,
)
from reflector_gpu.api.routes.operations import HEALTH
from reflector_gpu.api.telemetry import Telemetry
from reflector_gpu.api.tracing import configured_tracer
from reflector_gpu.jobs.configured import configured_jobs
from reflector_gpu.networks import Trust, network_warnings
from reflector_gpu.realtime.client_secrets import ClientSecrets
from reflector_gpu.service import Service
from reflector_gpu.service.worker_pools import Elsewhere
from reflector_gpu.settings import Settings
from reflector_gpu.store.accounts import Accounts
from reflector_gpu.store.configured import open_database
from reflector_gpu.version import __version__
from reflector_gpu.webrtc.calls import Calls

logger = logging.getLogger(__name__)

ROUTERS = [
    transcription.router,
    realtime.router,
    calls.router,
    diarization.router,
    asr.router,
    translation.router,
    completion.router,
    speakers.router,
    padding.router,
    jobs.router,
    uploads.router,
    webhooks.router,
    batches.router,
    models.router,
    usage.router,
    operations.router,
    docs.router,
    console.router,
]
"""In the order in which /docs shows them."""

_LAST_WORDS_SECONDS = 10.0
"""How long WebRTC calls get to transcribe what was said before the server stopped."""

_SENTENCE_END = re.compile(r"\.(\s+|$)")

_DESCRIPTION = """
Speech to words with times, behind the OpenAI audio API and Reflector's own routes.

Send the key as `Authorization: Bearer <key>`; the headers `api-key` and `X-API-Key` take it too.

Fields of a form may stand in the query as well. A field that is misspelled, or that belongs to
another route, is a 400 that says so. Any other field that a route does not know is ignored; with
`REFLECTOR_STRICT=true` it is a 400, too. The same is true of the names in every query.

Headers of an answer:

- `X-Reflector-Model`: the model that answered.
- `X-Reflector-Ignored`: the fields that were ignored.
- `X-Reflector-Warnings`: JSON that says what may be missing: speech without words, parts that the
  model failed on, a file that is damaged or truncated, audio tracks that were left out. Formats
  with a field `warnings` say it there, too.
- `X-Request-ID`: what the log calls this request. A client may send its own: at most 128 letters,
  digits and `._:/+=@~-`. Another is not used, and the answer has the one that is.
"""


def create_app(settings: Settings, elsewhere: Elsewhere | None = None) -> FastAPI:
    """An ASGI app that starts its own `Service` and closes it at shutdown.

    ``elsewhere`` has the models that run on other machines.

    Raises:
        ReflectorError: the settings do not work together.
    """
    metrics = Metrics()
    return app_over(Service(settings, elsewhere, metrics), metrics)


def app_over(service: Service, metrics: Metrics) -> FastAPI:
    """An ASGI app that starts ``service`` and closes it at shutdown. ``metrics`` watches its work.

    Raises:
        ReflectorError: the settings do not work together.
    """
    settings = service.settings
    metrics.gauge(service)
    telemetry = Telemetry(metrics, configured_tracer())
    database = open_database(settings)
    accounts = Accounts.of(database) if database else None
    batches_here = BatchKind(accounts)
    kinds = {**kinds_of(service, telemetry), KIND: batches_here}
    jobs_here = None
    if database and accounts:
        fetch = service.recordings.fetch
        jobs_here = configured_jobs(
            settings, database, kinds, fetch, webhook_body, accounts, metrics.job_ended
        )
    calls_here = Calls(settings.webrtc_calls, settings.webrtc_address, settings.body_seconds)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for warning in network_warnings(
            settings.trusted_networks, settings.trusted_proxies, settings.url_allow
        ):
            logger.warning(warning)
        try:
            service.start()
            if accounts and jobs_here:
                await accounts.start()
                await jobs_here.start()
            yield
        finally:
            await calls_here.aclose(min(settings.shutdown_seconds, _LAST_WORDS_SECONDS))
            if accounts and jobs_here and database:
                await jobs_here.aclose()
                await accounts.aclose()
                database.close()
            await service.close()
            await asyncio.to_thread(telemetry.tracer.close)

    app = _Application(
        title="reflector-gpu",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        openapi_url=None,  # `routes.docs` has it, and the pages: FastAPI's load scripts from a CDN
        telemetry={"tracing": False, "metrics": False, "logs": False},  # `Observe` does that
    )
    batches_here.app = app
    app.state.service = service
    app.state.metrics = metrics
    app.state.intake = Intake(service, metrics)
    app.state.job_kinds = kinds
    app.state.jobs = jobs_here
    app.state.accounts = accounts
    app.state.calls = calls_here
    app.state.client_secrets = client_secrets = ClientSecrets(settings.keys)
    for router in ROUTERS:
        app.include_router(router)
    routes = RouteTable([*ROUTERS, app.router])
    errors.install(app, routes)
    trust = Trust(settings.trusted_networks, settings.trusted_proxies)
    access = Access(settings, trust, client_secrets, accounts)
    _wrap(app, settings, access, telemetry, routes)
    return app


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document. To make it takes longer than the rest of the app, and so it is made
        when somebody first asks for it."""
        if self.openapi_schema is None:
            document = get_openapi(
                title=self.title,
                version=self.version,
                description=self.description,
                routes=self.routes,
            )
            _describe(document)
            self.openapi_schema = document
        return self.openapi_schema


def _wrap(
    app: FastAPI, settings: Settings, access: Access, telemetry: Telemetry, routes: RouteTable
) -> None:
    """Put the middleware around ``app``, the innermost first."""
    app.add_middleware(AnswerFailures)
    app.add_middleware(RequireKey, access=access, open_paths=_open_paths(settings))
    if settings.cors_origins:
        # This is outside of the check for a key: a browser asks without one whether it may send
        # one. Credentials are not allowed, which is what lets "*" mean every header.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["*"],
        )
    app.add_middleware(RefuseTwoLengths)
    app.add_middleware(Observe, telemetry=telemetry, routes=routes)


def _open_paths(settings: Settings) -> set[str]:
    paths = {docs.ROOT, console.FAVICON, *HEALTH}
    if settings.console:
        paths |= console.ADDRESSES.keys()
    if settings.public_docs:
        paths |= docs.DOCS
    if settings.public_metrics:
        paths.add("/metrics")
    return paths


def _describe(document: dict[str, Any]) -> None:
    """Add to the OpenAPI document what FastAPI does not know.

    It does not see the key, which is checked in middleware. As summaries of routes it takes the
    names of functions; the first sentences of their docstrings say more.
    """
    document.setdefault("components", {})["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "The headers `api-key` and `X-API-Key` take the same key.",
        }
    }
    document["security"] = [{"key": []}]
    for path in document["paths"].values():
        for operation in path.values():
            text = operation.get("description", "")
            if end := _SENTENCE_END.search(text):
                operation["summary"] = " ".join(text[: end.start()].split())
                operation["description"] = text[end.end() :]
