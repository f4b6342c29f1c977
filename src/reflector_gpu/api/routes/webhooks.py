"""What a client needs to check webhooks."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from reflector_gpu.api.checked_query import CheckedQuery
from reflector_gpu.api.dependencies import AppJobs, Owner
from reflector_gpu.api.errors import ANY_FAILURE

router = APIRouter(prefix="/v1/webhooks", tags=["jobs"], route_class=CheckedQuery)


class WebhookSecret(BaseModel):
    """The secret that signs the webhooks of one key."""

    secret: str = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])


@router.get("/secret", responses={"default": ANY_FAILURE})
async def get_webhook_secret(jobs: AppJobs, owner: Owner) -> WebhookSecret:
    """Show the secret that signs the webhooks of your key, for a library of Standard Webhooks."""
    return WebhookSecret(secret=await jobs.deliveries.secret(owner))
