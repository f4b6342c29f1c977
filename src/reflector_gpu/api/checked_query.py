"""Names in a query that its route does not know, which are treated as those in a form are."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.responses import Response

from reflector_gpu.api.intake import Intake

_WITHOUT_BODY = frozenset({"GET", "HEAD", "DELETE"})


class CheckedQuery(APIRoute):
    """A route that refuses misspelled names in its query, and tells which others it ignores.

    This is for routes whose functions declare what they take from the query. Those with a body read
    fields in the query together with the others, and check them there.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if not _WITHOUT_BODY.issuperset(self.methods or ()):
            return handle
        declared = self.dependant.query_params
        known = frozenset(_names((field.alias, field.field_info.annotation) for field in declared))

        async def checked(request: Request) -> Response:
            if request.scope["query_string"]:
                intake: Intake = request.app.state.intake
                intake.check_query(request, known)
            return await handle(request)

        return checked


def _names(declared: Iterable[tuple[str, object]]) -> Iterator[str]:
    """The names in a query that parameters of a function stand for. A model has several."""
    for name, annotation in declared:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from annotation.model_fields
        else:
            yield name
