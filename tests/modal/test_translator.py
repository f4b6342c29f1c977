"""The contract of translation over the Modal app: the API's own tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from reflector_gpu.deploy import modal_app
from reflector_gpu.deploy.modal_app import Deployment
from reflector_gpu.errors import UpstreamFailed
from tests.api.translation.test_translate import (  # noqa: F401
    test_a_bad_field_is_named,
    test_a_long_text_keeps_its_shape,
    test_a_pair_after_its_opposite,
    test_an_unknown_pair_lists_the_known_ones,
    test_from_english_to_french_unless_told,
    test_the_forms_of_the_request,
    test_the_languages,
    test_translation_needs_a_key,
)
from tests.engines.tongues import TRANSLATION
from tests.live import LiveServer
from tests.modal.conftest import Running, running
from tests.waiting import until

pytestmark = pytest.mark.slow

ENVIRONMENT = {
    "REFLECTOR_MODAL_TRANSLATOR_MODEL": str(TRANSLATION),
    "REFLECTOR_MODAL_TRANSLATOR_GPU": "none",
    "REFLECTOR_TRANSLATE_CHARACTERS": "20000",
}


@pytest.fixture(scope="module")
def app() -> Iterator[Running]:
    with running("reflector_translator", ENVIRONMENT) as app:
        yield app


@pytest.fixture(scope="module")
def server(app: Running) -> LiveServer:
    """What the API's tests take to be a server of this machine."""
    return app.server


def test_the_work_is_done_in_a_container(app: Running) -> None:
    before = app.containers["Engine"].done
    with app.server.client() as client:
        answer = client.post("/translate", params={"text": "Thank you."})
    assert answer.json() == {"text": {"en": "Thank you.", "fr": "Merci."}}
    assert app.containers["Engine"].done == before + 1


# Weights that nobody has pulled

M2M100 = {
    "REFLECTOR_MODAL_TRANSLATOR_MODEL": "m2m100",
    "REFLECTOR_MODAL_TRANSLATOR_GPU": "none",
}


class Hub:
    """What `pull` fetches from, into an empty volume, while it is there."""

    def __init__(self, volume: Path) -> None:
        self.there = True
        self._volume = volume

    def pull(self, deployment: Deployment) -> None:
        weights = deployment.model.weights
        assert weights
        if not self.there:
            raise UpstreamFailed("not now")
        folder = self._volume / f"models--{weights.repository.replace('/', '--')}"
        shutil.copytree(TRANSLATION, folder / "snapshots" / "1", dirs_exist_ok=True)
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / "main").write_text("1")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    hub = Hub(tmp_path)
    monkeypatch.setattr(Deployment, "pull", lambda deployment: hub.pull(deployment))
    return hub


@pytest.mark.usefixtures("hub")
def test_the_server_fetches_the_weights_that_it_reads() -> None:
    with running("reflector_translator", M2M100) as app, app.server.client() as client:
        answer = client.post("/translate", params={"text": "Thank you."})
    assert answer.json() == {"text": {"en": "Thank you.", "fr": "Merci."}}


def test_and_goes_on_trying(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modal_app, "_FETCH_SECONDS", 0.05)
    hub.there = False
    with running("reflector_translator", M2M100) as app, app.server.client() as client:
        asked = {"text": "Thank you."}
        assert client.post("/translate", params=asked).status_code == 503
        hub.there = True
        until(lambda: client.post("/translate", params=asked).status_code == 200)
