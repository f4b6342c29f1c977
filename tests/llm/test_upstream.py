"""Another server's language model: what is asked of it, what it answers, every way it can fail."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeAlias, TypeVar

import pytest

from reflector_gpu.errors import (
    ConfigurationError,
    ContextExceeded,
    InvalidRequest,
    Overloaded,
    ReflectorError,
    TooLarge,
    UpstreamFailed,
    UpstreamTimeout,
)
from reflector_gpu.llm.base import CompletionRequest
from reflector_gpu.llm.upstream import UpstreamModel, UpstreamOptions
from reflector_gpu.types import Completion, Message, Prompt, SamplingOptions, ToolCallPiece
from tests.llm.stub import KEY, MODEL, Reply, Stub
from tests.waiting import PATIENCE_SECONDS

T = TypeVar("T")

REQUEST = CompletionRequest(Prompt((Message("user", "Say hello."),)))
Piece: TypeAlias = str | ToolCallPiece | Completion

HELLO = Completion("Hello there.", "stop", 7, 3)


def run(
    stub: Stub,
    work: Callable[[UpstreamModel], Coroutine[Any, Any, T]],
    slept: list[float] | None = None,
    **options: Any,
) -> T:
    """``work`` with a model behind ``stub``; pauses are noted in ``slept`` and not waited for."""

    async def sleep(seconds: float) -> None:
        if slept is not None:
            slept.append(seconds)

    async def scene() -> T:
        given = {"base_url": stub.url, "model": MODEL, "api_key": KEY, **options}
        model = UpstreamModel(UpstreamOptions(**given), sleep=sleep)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await work(model)
        finally:
            await model.aclose()

    return asyncio.run(scene())


def complete(stub: Stub, request: CompletionRequest = REQUEST, **options: Any) -> Completion:
    return run(stub, lambda model: model.complete(request), **options)


def stream(stub: Stub, request: CompletionRequest = REQUEST, **options: Any) -> list[Piece]:
    """The pieces; what failed is raised once they are out, and keeps them as ``pieces``."""

    async def gather(model: UpstreamModel) -> list[Piece]:
        found: list[Piece] = []
        try:
            async with aclosing(model.stream(request)) as pieces:
                async for piece in pieces:
                    found.append(piece)  # noqa: PERF401  what came before an error counts
        except ReflectorError as error:
            error.pieces = found  # type: ignore[attr-defined]  # for the tests
            raise
        return found

    return run(stub, gather, **options)


def test_an_answer_whole_and_in_pieces() -> None:
    with Stub() as stub:
        assert complete(stub) == HELLO
        assert stream(stub) == ["Hello", " there", ".", HELLO]


def test_what_is_asked_for_is_asked_of_the_server() -> None:
    schema = {"type": "object"}
    request = CompletionRequest(
        Prompt((Message("system", "Be brief."), Message("user", "Hi.")), 20, ("\n", "END")),
        SamplingOptions(0.5, 0.9, 7),
        schema,
    )
    with Stub() as stub:
        complete(stub, request)
        complete(stub)
    full, plain = stub.asked
    assert full == {
        "path": "/v1/chat/completions",
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi."},
        ],
        "max_tokens": 20,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "stop": ["\n", "END"],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema},
        },
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert set(plain) == {"path", "model", "messages", "stream", "stream_options"}
    assert stub.keys == [f"Bearer {KEY}"] * 2


def test_without_a_key_none_is_sent() -> None:
    with Stub() as stub:
        complete(stub, api_key="")
    assert stub.keys == [None]


def test_an_answer_that_is_cut_off_says_so() -> None:
    with Stub(Reply(finish="length")) as stub:
        assert complete(stub).finish == "length"


@pytest.mark.parametrize("text", ["a\u2028b\u0085c", "🎉" * 50, 'data: {"x"}', "\n\ndata: [DONE]"])
def test_any_text_comes_through(text: str) -> None:
    with Stub(Reply([text, text])) as stub:
        assert complete(stub).text == text + text


BUSY = Reply(status=429, body={"error": {"message": "busy"}}, headers={"Retry-After": "3"})
DOWN = Reply(status=503, body="<html>not yet</html>")
BROKEN = Reply(breaks_after=2)
EARLY = Reply(finish=None)
NONSENSE = Reply(instead="{not json")
FAILING = Reply(instead=json.dumps({"error": {"message": "CUDA out of memory", "code": 500}}))


@pytest.mark.parametrize("bad", [BUSY, DOWN, BROKEN, EARLY, NONSENSE, FAILING])
def test_what_may_go_well_the_next_time_is_tried_again(bad: Reply) -> None:
    slept: list[float] = []
    with Stub(bad, bad) as stub:
        assert complete(stub, slept=slept) == HELLO
    assert len(stub.asked) == 3
    assert slept == ([3.0, 3.0] if bad is BUSY else [0.5, 1.0])


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (BUSY, Overloaded),
        (DOWN, UpstreamFailed),
        (BROKEN, UpstreamFailed),
        (EARLY, UpstreamFailed),
        (NONSENSE, UpstreamFailed),
        (FAILING, UpstreamFailed),
        (Reply(status=504, body=""), UpstreamTimeout),
    ],
)
def test_the_last_error_is_raised_if_no_attempt_succeeds(
    bad: Reply, kind: type[ReflectorError]
) -> None:
    with Stub(bad, bad, bad, bad) as stub, pytest.raises(kind) as failure:
        complete(stub)
    assert len(stub.asked) == 3
    assert "CUDA" not in failure.value.message
    if isinstance(failure.value, Overloaded):
        assert failure.value.retry_after == 3


def test_a_server_that_is_busy_for_long_is_not_waited_for() -> None:
    later = Reply(status=429, body="", headers={"Retry-After": "600"})
    with Stub(later) as stub, pytest.raises(Overloaded) as failure:
        complete(stub)
    assert (len(stub.asked), failure.value.retry_after) == (1, 600)


@pytest.mark.parametrize("bad", [BROKEN, NONSENSE, FAILING])
def test_a_stream_that_has_begun_is_not_begun_again(bad: Reply) -> None:
    with Stub(bad) as stub, pytest.raises(UpstreamFailed) as failure:
        stream(stub)
    assert failure.value.pieces == ["Hello", " there"]  # type: ignore[attr-defined]  # see above
    assert len(stub.asked) == 1


def test_a_stream_that_has_not_begun_is_tried_again() -> None:
    with Stub(DOWN, Reply(breaks_after=0)) as stub:
        assert stream(stub)[-1] == HELLO
    assert len(stub.asked) == 3


VLLM = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."
LLAMA = "the request exceeds the available context size, try increasing it"


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (400, {"error": {"message": VLLM, "code": 400}}, ContextExceeded, "4096"),
        (400, {"object": "error", "message": VLLM, "code": 400}, ContextExceeded, "5000"),
        (400, {"error": {"message": LLAMA}}, ContextExceeded, "context size"),
        (400, {"error": {"message": "top_p must be in (0, 1]"}}, InvalidRequest, "top_p"),
        (422, {"error": "no such field"}, InvalidRequest, "no such field"),
        (413, "", TooLarge, "413"),
        (401, {"error": {"message": "bad key sk-secret"}}, UpstreamFailed, "REFLECTOR_LLM_API_KEY"),
        (404, {"error": {"message": "no model"}}, UpstreamFailed, "REFLECTOR_LLM_MODEL"),
        (418, ["odd"], UpstreamFailed, "418"),
    ],
)
def test_a_refusal_is_final_and_told_in_our_words(
    status: int, body: object, kind: type[ReflectorError], said: str
) -> None:
    with Stub(Reply(status=status, body=body)) as stub, pytest.raises(kind) as failure:
        complete(stub)
    assert len(stub.asked) == 1
    assert said in failure.value.message
    assert "secret" not in failure.value.message


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_tells_neither_the_key_nor_the_address(status: int) -> None:
    said = f"{'x' * 490} {KEY} at 127.0.0.1 is no good"
    bad = Reply(status=status, body={"error": {"message": said}})
    with Stub(bad) as stub, pytest.raises((InvalidRequest, TooLarge)) as failure:
        complete(stub)
    assert "xxx" in failure.value.message
    assert KEY[:5] not in failure.value.message
    assert "127.0.0.1" not in failure.value.message


def test_a_key_that_is_refused_is_called_as_its_owner_knows_it() -> None:
    with Stub(Reply(status=401, body="")) as stub, pytest.raises(UpstreamFailed) as failure:
        complete(stub, key_name="--key")
    assert "see --key" in failure.value.message


def test_a_refusal_in_the_middle_of_a_stream() -> None:
    event = json.dumps({"object": "error", "message": VLLM, "code": 400})
    with Stub(Reply(instead=event)) as stub, pytest.raises(ContextExceeded):
        complete(stub)
    assert len(stub.asked) == 1


def test_a_server_that_falls_silent() -> None:
    with Stub(Reply(holds=True)) as stub:
        with pytest.raises(UpstreamTimeout, match=r"nothing for 0\.2 seconds"):
            complete(stub, silence_seconds=0.2)
        assert stub.left.wait(PATIENCE_SECONDS)
    assert len(stub.asked) == 1


def test_a_server_that_is_not_there() -> None:
    slept: list[float] = []
    with socket.socket() as taken, Stub() as stub:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        port = taken.getsockname()[1]
        with pytest.raises(UpstreamFailed) as failure:
            complete(stub, base_url=f"http://127.0.0.1:{port}/v1", slept=slept)
    assert slept == [0.5, 1.0]
    assert str(port) not in failure.value.message


def test_closing_a_stream_ends_the_work_at_the_server() -> None:
    async def leave(model: UpstreamModel) -> None:
        async with aclosing(model.stream(REQUEST)) as pieces:
            assert await anext(pieces) == "Hello"

    with Stub(Reply(holds=True)) as stub:
        run(stub, leave)
        assert stub.left.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": ""},
        {"base_url": "localhost:8080"},
        {"base_url": "http://"},
        {"base_url": "http://a:port"},
        {"model": ""},
        {"api_key": "ключ"},
        {"api_key": "two\nlines"},
    ],
)
def test_settings_that_do_not_lead_to_a_server(options: dict[str, str]) -> None:
    given: dict[str, Any] = {"base_url": "http://127.0.0.1:1/v1", "model": MODEL, **options}
    with pytest.raises(ConfigurationError, match="REFLECTOR_LLM_"):
        UpstreamModel(UpstreamOptions(**given))
