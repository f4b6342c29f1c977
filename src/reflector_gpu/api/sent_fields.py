"""What the fields of all requests have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class SentFields(BaseModel):
    """Fields that a client sends. `AcceptedFields` says what becomes of unknown ones."""

    model_config = ConfigDict(extra="ignore", frozen=True)
