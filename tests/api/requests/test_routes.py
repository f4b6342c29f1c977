"""Routes are functions of their modules: they can be named, called and tested one by one."""

from __future__ import annotations

import asyncio
import sys

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from reflector_gpu.api.app import ROUTERS, create_app
from reflector_gpu.api.routes import models
from reflector_gpu.service import Service
from reflector_gpu.settings import load_settings

ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{sorted(route.methods)} {route.path}")
def test_every_route_can_be_named(route: APIRoute) -> None:
    endpoint = route.endpoint
    assert getattr(sys.modules[endpoint.__module__], endpoint.__name__) is endpoint


def test_a_route_can_be_called_without_a_server() -> None:
    async def listed() -> models.ModelList:
        return await models.list_models(Service(load_settings(model="scripted")))

    assert "scripted" in {card.id for card in asyncio.run(listed()).data if card.default}


def test_apps_of_one_process_do_not_share_what_their_routes_work_with() -> None:
    async def overview(app: FastAPI) -> dict[str, str]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            found: dict[str, str] = (await client.get("/")).json()
            return found

    shown = create_app(load_settings(model="scripted", public_docs=True))
    hidden = create_app(load_settings(model="scripted", public_docs=False))
    assert "docs" in asyncio.run(overview(shown))
    assert "docs" not in asyncio.run(overview(hidden))
