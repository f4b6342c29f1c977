"""The contract of padding over the Modal app: the API's own tests."""

from collections.abc import Iterator

import pytest

from tests.api.padding.conftest import receiver, slow, track  # noqa: F401
from tests.api.padding.test_pad import (  # noqa: F401
    test_a_receiver_of_chunks_gets_the_beginning_before_the_end_has_come,
    test_any_recording,
    test_the_padded_track_is_put_with_its_length_and_nothing_that_is_not_signed,
)
from tests.api.support import error_of
from tests.live import LiveServer
from tests.modal.conftest import running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    """What the API's tests take to be a server of this machine."""
    with running("reflector_padding", {"REFLECTOR_URL_ALLOW": "127.0.0.1"}) as app:
        yield app.server


def test_it_is_ready_without_a_model_and_says_that_it_has_none(server: LiveServer) -> None:
    with server.client() as client:
        assert client.get("/health/ready").status_code == 200
        assert error_of(client.post("/pad", json={}), 400)["param"] == "track_url"
    with server.client(None) as client:
        error_of(client.post("/pad", json={}), 401)
