"""What a route takes from its application besides the request.

`create_app` puts each of these into ``app.state``, so that routes are plain functions of modules.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, Request, Response
from fastapi.requests import HTTPConnection
from fastapi.routing import APIRoute

from reflector_gpu.api.intake import Intake
from reflector_gpu.api.job_kinds import JobKind
from reflector_gpu.api.metrics import Metrics
from reflector_gpu.errors import NotConfigured
from reflector_gpu.jobs.jobs import Jobs
from reflector_gpu.realtime.client_secrets import ClientSecrets
from reflector_gpu.service import Service
from reflector_gpu.store.accounts import Accounts
from reflector_gpu.webrtc.calls import Calls


class Direct(APIRoute):
    """A route that calls its function with the request and nothing else.

    It saves FastAPI's search for dependencies, which takes half as long as parsing a form.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint


def intake_of(request: Request) -> Intake:
    """The intake of the application, for routes that are `Direct`."""
    found: Intake = request.app.state.intake
    return found


# These are coroutines because FastAPI runs other functions in a thread, for each request.


def _state(name: str) -> Any:
    """What ``app.state`` has by this ``name``."""

    async def found(request: HTTPConnection) -> object:
        return getattr(request.app.state, name)

    return Depends(found)


async def _jobs(request: HTTPConnection) -> Jobs:
    jobs: Jobs | None = request.app.state.jobs
    if jobs is None:
        raise NotConfigured(
            "This server keeps no jobs: its operator has to set REFLECTOR_DATA_DIR to a folder "
            "for them, or REFLECTOR_DATABASE_URL to a PostgreSQL (on Modal, in the secret "
            "'reflector-gpu'). /v1/audio/transcriptions answers at once."
        )
    return jobs


async def _accounts(request: HTTPConnection) -> Accounts:
    accounts: Accounts | None = request.app.state.accounts
    if accounts is None:
        raise NotConfigured(
            "This server does not keep what is used: its operator has to set REFLECTOR_DATA_DIR, "
            "or REFLECTOR_DATABASE_URL."
        )
    return accounts


async def _owner(request: HTTPConnection) -> str:
    owner: str = getattr(request.state, "owner", "")
    return owner


AppIntake: TypeAlias = Annotated[Intake, _state("intake")]
AppMetrics: TypeAlias = Annotated[Metrics, _state("metrics")]
AppService: TypeAlias = Annotated[Service, _state("service")]
AppClientSecrets: TypeAlias = Annotated[ClientSecrets, _state("client_secrets")]
AppCalls: TypeAlias = Annotated[Calls, _state("calls")]
AppJobs: TypeAlias = Annotated[Jobs, Depends(_jobs)]
AppAccounts: TypeAlias = Annotated[Accounts, Depends(_accounts)]
AppJobKinds: TypeAlias = Annotated[Mapping[str, JobKind], _state("job_kinds")]
Owner: TypeAlias = Annotated[str, Depends(_owner)]
"""Whose jobs a request is about."""
