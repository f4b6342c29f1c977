"""The contract of translation over the Modal app: the API's own tests."""

from collections.abc import Iterator

import pytest

from tests.api.support import connect
from tests.api.test_translate import (  # noqa: F401
    test_a_bad_field_is_named,
    test_a_key_is_wanted,
    test_a_long_text_keeps_its_shape,
    test_a_pair_after_its_opposite,
    test_an_unknown_pair_lists_the_known_ones,
    test_from_english_to_french_unless_told,
    test_the_forms_of_the_request,
    test_the_languages,
)
from tests.engines.tongues import TRANSLATION
from tests.live import LiveServer
from tests.modal.conftest import Running, running

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
    with connect(app.server) as client:
        answer = client.post("/translate", params={"text": "Thank you."})
    assert answer.json() == {"text": {"en": "Thank you.", "fr": "Merci."}}
    assert app.containers["Engine"].done == before + 1
