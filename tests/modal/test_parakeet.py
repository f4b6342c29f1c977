"""The contract of transcription over the other Modal app that transcribes."""

from collections.abc import Iterator

import pytest

from tests.api.operations.test_operations import test_live_and_ready  # noqa: F401
from tests.api.transcription.test_openai_client import test_stream_ends_with_done  # noqa: F401
from tests.api.transcription.test_transcriptions import (  # noqa: F401
    test_nobody_speaks,
    test_one_bad_file_fails_alone,
    test_reflectors_file_call,
    test_reflectors_live_call,
    test_reflectors_test_suites_call,
)
from tests.live import LiveServer
from tests.modal.conftest import running

pytestmark = pytest.mark.slow

ENVIRONMENT = {"REFLECTOR_MODAL_PARAKEET_MODEL": "scripted", "REFLECTOR_URL_ALLOW": "127.0.0.1"}


@pytest.fixture(scope="module")
def scripted() -> Iterator[LiveServer]:
    """What the API's tests take to be a server of this machine."""
    with running("reflector_transcriber_parakeet", ENVIRONMENT) as app:
        yield app.server
