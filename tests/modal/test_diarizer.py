"""The contract of diarization over the Modal app: the API's own tests."""

from collections.abc import Iterator

import pytest

from tests.api.diarization.test_diarize import (  # noqa: F401  tests, and what they need
    meeting,
    reference,
    test_400_for_no_audio_at_all,
    test_401_without_a_key,
    test_a_meeting_of_three,
    test_by_url_and_with_an_offset,
    test_the_form_of_the_answer,
    test_where_nobody_speaks_there_are_no_turns,
    turns,
)
from tests.live import LiveServer
from tests.modal.conftest import Running, running

pytestmark = pytest.mark.slow

ENVIRONMENT = {"REFLECTOR_MODAL_DIARIZER_MODEL": "bic", "REFLECTOR_URL_ALLOW": "127.0.0.1"}


@pytest.fixture(scope="module")
def app() -> Iterator[Running]:
    with running("reflector_diarizer", ENVIRONMENT) as app:
        yield app


@pytest.fixture(scope="module")
def scripted(app: Running) -> LiveServer:
    """What the API's tests take to be a server of this machine."""
    return app.server


def test_the_work_is_done_in_a_container(app: Running, quiet: bytes) -> None:
    before = app.containers["Engine"].done
    with app.server.client() as client:
        assert client.post("/diarize", files={"file": quiet}).json() == {"diarization": []}
    assert app.containers["Engine"].done == before + 1
    assert [pool.name for pool in app.server.service.workers.pools] == ["bic (live)"]


def test_it_is_ready_though_it_recognises_nothing(app: Running) -> None:
    with app.server.client(key=None) as client:
        answer = client.get("/health/ready")
    assert answer.json() == {"status": "ready", "model": None, "caveat": None}


def test_few_recordings_are_held_at_once(app: Running, quiet: bytes) -> None:
    with app.server.client() as client:
        client.post("/diarize", files={"file": quiet})
    assert [pool.workers for pool in app.server.service.workers.pools] == [2]
