"""Which route a request is for, whether it gets there or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from starlette.routing import Match, Route, Router, WebSocketRoute
from starlette.types import Scope


class RouteTable:
    """All routes of the server."""

    def __init__(self, routers: Iterable[Router]) -> None:
        self._routes = [
            route
            for router in routers
            for route in router.routes
            if isinstance(route, Route | WebSocketRoute)
        ]

    def label(self, scope: Scope) -> str:
        """The pattern of the route, for metrics, because clients may ask for any path."""
        path = getattr(scope.get("route"), "path", None)
        if isinstance(path, str):
            return path
        return next((route.path for route in self._matching(scope)), "unmatched")

    def methods(self, scope: Scope) -> list[str]:
        """All methods that the path of a request takes, in alphabetical order."""
        found: set[str] = set()
        for route in self._matching(scope):
            if isinstance(route, Route):
                found |= route.methods or set()
        return sorted(found)

    def _matching(self, scope: Scope) -> Iterator[Route | WebSocketRoute]:
        return (route for route in self._routes if route.matches(scope)[0] is not Match.NONE)
