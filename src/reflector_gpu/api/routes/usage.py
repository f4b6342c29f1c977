"""What a key has used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from reflector_gpu.api.access import NAMED_KEY
from reflector_gpu.api.checked_query import CheckedQuery
from reflector_gpu.api.dependencies import AppAccounts, Owner
from reflector_gpu.api.errors import ANY_FAILURE
from reflector_gpu.errors import Forbidden
from reflector_gpu.store.keys import ApiKey, Scope

router = APIRouter(prefix="/v1/usage", tags=["operations"], route_class=CheckedQuery)


class UsageOfDay(BaseModel):
    """What one key used on one day of UTC."""

    date: str = Field(examples=["2026-11-28"])
    key: str = Field(description="The id of a named key; made from the key if it has no name.")
    name: str | None = Field(description="The name of a named key.", examples=["alice"])
    requests: int = Field(description="Those that ask for work: POST, and WebSockets.")
    audio_seconds: float


class UsageList(BaseModel):
    object: Literal["list"] = "list"
    data: list[UsageOfDay]


@router.get("", responses={"default": ANY_FAILURE})
async def get_usage(
    request: Request,
    accounts: AppAccounts,
    owner: Owner,
    days: Annotated[int, Query(ge=1, le=366, description="How many, today included.")] = 30,
    everybody: Annotated[bool, Query(description="Of all keys; needs the scope `admin`.")] = False,
) -> UsageList:
    """Report what your key has used, day by day: requests, and seconds of audio."""
    key: ApiKey | None = getattr(request.state, NAMED_KEY, None)
    if everybody and key is not None and Scope.ADMIN not in key.scopes:
        raise Forbidden("Only keys with the scope 'admin' see what others have used.")
    first = (datetime.now(UTC).date() - timedelta(days=days - 1)).isoformat()
    found = await accounts.usage.since(first, None if everybody else owner)
    return UsageList(
        data=[
            UsageOfDay(
                date=one.day,
                key=one.owner,
                name=accounts.keys.name_of(one.owner),
                requests=one.requests,
                audio_seconds=round(one.audio_seconds, 2),
            )
            for one in found
        ]
    )
