"""The requests that make client secrets, and the answers to them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from reflector_gpu.api.sent_fields import SentFields
from reflector_gpu.formats.schemas import Body
from reflector_gpu.realtime.server_events import BetaSession, Session

SECRET_SECONDS = 600
_SHORTEST, _LONGEST = 10, 7200


class ExpiresAfter(SentFields):
    anchor: Literal["created_at"] = "created_at"
    seconds: int = Field(SECRET_SECONDS, ge=_SHORTEST, le=_LONGEST)


class ClientSecretFields(SentFields):
    """The body of /v1/realtime/client_secrets."""

    expires_after: ExpiresAfter | None = Field(
        None, description="How long the secret is valid. Sessions that it opened go on after that."
    )
    session: dict[str, Any] | None = Field(
        None,
        description="What its sessions begin with, as in the event `session.update`.",
        examples=[{"type": "transcription", "audio": {"input": {"turn_detection": None}}}],
    )

    @property
    def seconds(self) -> int:
        return self.expires_after.seconds if self.expires_after else SECRET_SECONDS


class ClientSecretAnswer(Body):
    """A secret, and the session that it opens."""

    value: str = Field(description="The secret, to be sent as a key.", examples=["ek_..."])
    expires_at: int = Field(description="Seconds since 1970.", examples=[1767226200])
    session: Session


class _BetaSecretFields(SentFields):
    expires_at: ExpiresAfter | None = None


class BetaSessionFields(SentFields):
    """The body of /v1/realtime/transcription_sessions."""

    client_secret: _BetaSecretFields | None = Field(
        None, description="How long the secret is valid, as `expires_at`."
    )
    input_audio_format: Literal["pcm16", "g711_ulaw", "g711_alaw"] | None = None
    input_audio_transcription: dict[str, Any] | None = None
    input_audio_noise_reduction: dict[str, Any] | None = None
    turn_detection: dict[str, Any] | None = Field(
        None, description="Null: the client's commits end turns."
    )
    include: list[str] | None = None
    modalities: list[str] | None = Field(None, description="Accepted. It has no effect.")

    @property
    def seconds(self) -> int:
        told = self.client_secret and self.client_secret.expires_at
        return told.seconds if told else SECRET_SECONDS


class BetaSecret(Body):
    value: str = Field(examples=["ek_..."])
    expires_at: int = Field(description="Seconds since 1970.", examples=[1767226200])


class BetaSessionAnswer(BetaSession):
    """The session that a secret opens, and the secret."""

    client_secret: BetaSecret
