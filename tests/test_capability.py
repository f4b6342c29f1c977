"""A capability is a folder of `engines` and a line in `engines.catalogs`; this one is made up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import pytest

from reflector_gpu.cli import completion
from reflector_gpu.cli.inventory import Inventory, state
from reflector_gpu.engines.base import EngineSpec, Model
from reflector_gpu.engines.capability import Capability
from reflector_gpu.engines.catalog import Catalog
from reflector_gpu.engines.catalogs import CATALOGS
from reflector_gpu.settings import load_settings
from reflector_gpu.types import Priority
from tests.live import LiveServer

REVERSAL = Capability(
    kind="reverser", purpose="turns text around", method="reverse", stage="translate"
)


@dataclass(frozen=True, slots=True)
class ReverserModel(Model[str, str]):
    capability: ClassVar[Capability] = REVERSAL


class Reverser:
    def load(self) -> None: ...

    def reverse(self, texts: Sequence[str], options: object) -> Sequence[str]:
        return [text[::-1] for text in texts]

    def close(self) -> None: ...


MODEL = ReverserModel(
    "mirror", f"{__name__}:Reverser", EngineSpec(), "Reads backwards", "MIT", packages=("json",)
)


@pytest.fixture(autouse=True)
def catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line in `engines.catalogs`."""
    found = Catalog(capability=REVERSAL, models={MODEL.name: MODEL})
    monkeypatch.setitem(CATALOGS, REVERSAL.kind, found)


async def reversed_by(server: LiveServer, text: str) -> str:
    pool = server.service.workers.pool(MODEL)
    await pool.ready(60)
    return await pool.submit(text, None, cost=1, priority=Priority.LIVE)


@pytest.mark.slow
def test_v1_models_lists_and_describes_its_model_and_workers_run_it() -> None:
    with LiveServer(model="scripted", workers=1) as server, server.client() as client:
        listed = {card["id"]: card for card in client.get("/v1/models").json()["data"]}
        assert listed["mirror"] == client.get("/v1/models/mirror").json()
        assert (listed["mirror"]["type"], listed["mirror"]["state"]) == ("reverser", "not loaded")
        assert listed["mirror"]["description"] == "Reads backwards"
        assert asyncio.run(reversed_by(server, "live")) == "evil"
        assert client.get("/v1/models/mirror").json()["state"] == "ready"


def test_the_command_line_knows_its_model() -> None:
    inventory = Inventory.of(load_settings())
    assert "reverser" in inventory.kinds
    assert state(inventory.find("mirror")) == "installed"
    assert completion.models("mir") == ["mirror"]
