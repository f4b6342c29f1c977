"""``doctor`` asks the configured language model something."""

from __future__ import annotations

from reflector_gpu.cli import engine_checks
from reflector_gpu.cli.checks import Status
from reflector_gpu.settings import load_settings
from tests.api.llms import LLM
from tests.llm.stub import MODEL, Reply, Stub


def test_a_model_that_answers_is_fine() -> None:
    settings = load_settings(llm_engine="ctranslate2", llm_model=str(LLM), workers=1)
    check = engine_checks.language_model(settings)
    assert check.status is Status.OK
    assert "llm-tiny" in check.detail
    assert "Hello! How can I help you?" in check.detail


def test_a_server_that_refuses_is_told_with_what_to_look_at() -> None:
    with Stub(Reply(status=401, body="")) as stub:
        settings = load_settings(llm_engine="openai", llm_base_url=stub.url, llm_model=MODEL)
        check = engine_checks.language_model(settings)
    assert check.status is Status.WARN
    assert "REFLECTOR_LLM_API_KEY" in check.detail
    assert "REFLECTOR_LLM_BASE_URL" in check.fix
