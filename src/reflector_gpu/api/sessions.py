"""What realtime sessions have in common, over a WebSocket or over WebRTC."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi.requests import HTTPConnection

from reflector_gpu.api.access import OPENED_BY
from reflector_gpu.api.metrics import Metrics
from reflector_gpu.realtime.client_secrets import ClientSecret
from reflector_gpu.realtime.configuration import Configuration
from reflector_gpu.realtime.conversation import Conversation, Line
from reflector_gpu.realtime.dialects import Dialect
from reflector_gpu.realtime.recognition import ServiceSpeech
from reflector_gpu.realtime.session import Session
from reflector_gpu.service import Service
from reflector_gpu.store.accounts import Accounts
from reflector_gpu.types import Priority


@dataclass(frozen=True, slots=True)
class _Account:
    """Counts what a client's sessions use: in the metrics, and for its key."""

    metrics: Metrics
    accounts: Accounts | None
    owner: str

    def audio(self, model: str, seconds: float) -> None:
        self.metrics.audio(model, seconds)
        if self.accounts:
            self.accounts.usage.audio(self.owner, seconds)

    def word_delay(self, model: str, seconds: float) -> None:
        self.metrics.word_delay(model, seconds)


@dataclass(frozen=True, slots=True)
class Opening:
    """A session that can begin: who asked for it, and with which configuration."""

    service: Service
    metrics: Metrics
    caller: HTTPConnection
    configuration: Configuration
    dialect: Dialect

    async def hold(self, line: Line, record: dict[str, str | int | float]) -> None:
        """Hold the session over ``line`` until it ends. Then ``record`` has its figures."""
        state = self.caller.state
        client: str = getattr(state, "client", "")
        accounts: Accounts | None = self.caller.app.state.accounts
        account = _Account(self.metrics, accounts, getattr(state, "owner", ""))
        conversation = Conversation(line, self.service.settings.request_seconds)
        session = Session(
            ServiceSpeech(self.service, client, account),
            self.configuration,
            conversation.send,
            lifetime=conversation.lifetime,
            dialect=self.dialect,
        )
        try:
            with self.metrics.session():
                await conversation.hold(session)
        finally:
            record |= {"turns": session.turns, "audio": round(session.seconds, 3)}


def check_room(service: Service, client: str) -> None:
    """Raise `Overloaded` unless the server can bear another session of this client."""
    service.admission.check(Priority.LIVE, client)
    service.recordings.live_load.check()


def begun(service: Service, caller: HTTPConnection, model: str | None) -> Configuration:
    """What a session begins with. A ``model`` that we do not know is a language model of OpenAI's,
    which some clients name because their sessions with it would transcribe as well."""
    secret: ClientSecret | None = getattr(caller.state, OPENED_BY, None)
    configuration = secret.configuration if secret else Configuration()
    told = configuration.input.transcription is None or configuration.input.transcription.model
    if model is None or told or not service.recognisers.knows(model):
        return configuration
    return configuration.updated({"audio": {"input": {"transcription": {"model": model}}}})


async def checked(service: Service, client: str, configuration: Configuration) -> Configuration:
    """The ``configuration``, if the server can do what it asks for.

    Raises:
        ReflectorError: it cannot.
    """
    if wanted := configuration.input.transcription:
        speech = ServiceSpeech(service, client)
        speech.check(wanted)
        await speech.check_options(wanted)
    return configuration
