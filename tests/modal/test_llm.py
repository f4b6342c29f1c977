"""The contract of the language model over the Modal app: the API's own tests."""

from collections.abc import Iterator

import pytest

from tests.api.completion.test_chat import (  # noqa: F401
    test_a_client_that_leaves_ends_the_work,
    test_a_streamed_answer_comes_in_pieces_with_its_usage,
    test_requests_share_batches_and_get_their_own_answers,
    test_stop_sequences,
    test_the_openai_client_gets_an_answer,
)
from tests.api.completion.test_llm import (  # noqa: F401
    test_a_bad_field_is_named,
    test_a_prompt_is_answered,
    test_a_prompt_over_the_context_is_told_both_numbers,
    test_tokens_are_limited,
    test_with_a_schema_the_text_is_json_that_fits,
    test_without_a_key_nothing_is_answered,
)
from tests.api.llms import COUNT, LLM
from tests.api.support import error_of
from tests.live import LiveServer
from tests.modal.conftest import Running, dies, running

pytestmark = pytest.mark.slow

ENVIRONMENT = {"REFLECTOR_MODAL_LLM_MODEL": str(LLM), "REFLECTOR_MODAL_LLM_GPU": "none"}


@pytest.fixture(scope="module")
def app() -> Iterator[Running]:
    with running("reflector_llm", ENVIRONMENT) as app:
        yield app


@pytest.fixture(scope="module")
def llm(app: Running) -> LiveServer:
    """What the API's tests take to be a server of this machine."""
    return app.server


@pytest.fixture(scope="module")
def either(app: Running) -> LiveServer:
    """The same."""
    return app.server


def test_the_work_is_done_in_a_container(app: Running) -> None:
    before = app.containers["Engine"].done
    with app.server.client() as client:
        answer = client.post("/llm", json={"prompt": "Count to ten.", "temperature": 0})
    assert answer.json() == {"text": COUNT}
    assert app.containers["Engine"].done == before + 1


def test_a_container_that_dies_before_it_has_said_anything_is_not_noticed(app: Running) -> None:
    app.containers["Engine"].faults.append(dies)
    with app.server.client() as client:
        answer = client.post("/llm", json={"prompt": "Count to ten.", "temperature": 0})
    assert answer.json() == {"text": COUNT}


def test_one_that_dies_in_the_middle_of_a_stream_ends_it_with_an_error(app: Running) -> None:
    asked = {"messages": [{"role": "user", "content": "Count to ten."}], "stream": True}
    app.containers["Engine"].halfway.append(dies)
    with app.server.client() as client:
        lines = client.post("/v1/chat/completions", json=asked).text.splitlines()
    events = [line for line in lines if line.startswith("data: ")]
    assert "one" in events[0] + events[1]
    assert "engine_failed" in events[-2]
    assert events[-1] == "data: [DONE]"


def test_without_a_model_in_the_volume_the_server_says_so() -> None:
    with running("reflector_llm", {"REFLECTOR_MODAL_LLM_MODEL": "/models/none"}) as app:
        with app.server.client() as client:
            answer = client.post("/llm", json={"prompt": "Count to ten."})
        assert error_of(answer, 404)["code"] == "not_configured"
        assert not app.containers["Engine"].running
