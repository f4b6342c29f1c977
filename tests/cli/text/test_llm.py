"""``llm``: an answer on standard output, from a model here or behind a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.api.llms import ITEMS, LLM, SCHEMA, SUMMARY
from tests.cli.conftest import Typed
from tests.cli.program import environment, run
from tests.live import KEY
from tests.llm.stub import Reply, Stub

HERE = environment(LLM_ENGINE="ctranslate2", LLM_MODEL=str(LLM))


@pytest.mark.slow
def test_a_model_here_answers() -> None:
    done = run("llm", "Summarize the meeting.", "--temperature", "0", env=HERE)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{SUMMARY}\n", "")


@pytest.mark.slow
def test_json_for_a_schema(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA))
    command = ["llm", "List the action items.", "--temperature", "0", "--schema", str(file)]
    done = run(*command, env=HERE)
    assert (done.returncode, json.loads(done.stdout)) == (0, json.loads(ITEMS))


def test_a_server_answers_and_a_cut_off_answer_is_told() -> None:
    with Stub(Reply(), Reply(finish="length")) as stub:
        command = ["llm", "Hi.", "--system", "Be kind.", "--server", stub.url, "--key", KEY]
        whole, cut = run(*command), run(*command, "--max-tokens", "3")
    assert (whole.returncode, whole.stdout) == (0, "Hello there.\n")
    assert (cut.returncode, cut.stdout) == (1, "Hello there.\n")
    assert "cut off" in cut.stderr
    assert stub.asked[0]["messages"][0] == {"role": "system", "content": "Be kind."}
    assert stub.asked[1]["max_tokens"] == 3
    assert stub.keys == [f"Bearer {KEY}"] * 2


def test_a_key_that_the_server_refuses_is_named_as_it_was_given(typed: Typed) -> None:
    with Stub(Reply(status=401, body="")) as stub:
        done = typed("llm", "Hi.", "--server", stub.url, "--key", "wrong")
    assert done.status == 2
    assert "see --key" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["Hi."], "REFLECTOR_LLM_ENGINE"),
        (["Hi.", "--server", "localhost"], "--server must begin with"),
        (["Hi.", "--schema", "/nowhere.json"], "The schema cannot be read"),
    ],
)
def test_what_does_not_work_is_told(typed: Typed, arguments: list[str], said: str) -> None:
    done = typed("llm", *arguments)
    assert (done.status, done.out) == (2, "")
    assert said in done.err
