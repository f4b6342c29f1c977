"""The two forms of OpenAI's events about sessions and items: today's and its beta's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from reflector_gpu.realtime import server_events as events
from reflector_gpu.realtime.configuration import Configuration


class Dialect(Protocol):
    """Writes the events that differ."""

    def created(self, opened: Opened) -> events.ServerEvent:
        """A session has begun."""
        ...

    def updated(self, opened: Opened) -> events.ServerEvent:
        """The client has changed it."""
        ...

    def item(self, previous: str | None, item: events.Item) -> Sequence[events.ServerEvent]:
        """A turn has become an item of the conversation."""
        ...


class Opened(Protocol):
    """An open session, as far as its client sees it."""

    id: str
    expires_at: int
    configuration: Configuration


class Today:
    def created(self, opened: Opened) -> events.ServerEvent:
        return events.SessionCreated(session=_session(opened))

    def updated(self, opened: Opened) -> events.ServerEvent:
        return events.SessionUpdated(session=_session(opened))

    def item(self, previous: str | None, item: events.Item) -> Sequence[events.ServerEvent]:
        return (
            events.ItemAdded(previous_item_id=previous, item=item),
            events.ItemDone(previous_item_id=previous, item=item),
        )


class Beta:
    def created(self, opened: Opened) -> events.ServerEvent:
        return events.BetaSessionCreated(session=_beta_session(opened))

    def updated(self, opened: Opened) -> events.ServerEvent:
        return events.BetaSessionUpdated(session=_beta_session(opened))

    def item(self, previous: str | None, item: events.Item) -> Sequence[events.ServerEvent]:
        return (events.ItemCreated(previous_item_id=previous, item=item),)


def _session(opened: Opened) -> events.Session:
    return events.Session.of(opened.id, opened.expires_at, opened.configuration)


def _beta_session(opened: Opened) -> events.BetaSession:
    return events.BetaSession.of(opened.id, opened.expires_at, opened.configuration)
