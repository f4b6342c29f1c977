"""What servers send that is not quite what OpenAI does: read where it can be, else an error."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.errors import InvalidRequest, Overloaded, ReflectorError, UpstreamFailed
from reflector_gpu.llm.base import CompletionRequest
from reflector_gpu.llm.upstream import UpstreamModel, UpstreamOptions
from reflector_gpu.types import Completion, Message, Prompt
from tests.llm.test_upstream import Piece

EVENTS = {"content-type": "text/event-stream"}
HELLO = Completion("Hello.", "stop", 0, 0)


class Parts(httpx.AsyncByteStream):
    def __init__(self, parts: Sequence[bytes]) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part


def answer(*parts: bytes, status: int = 200, headers: dict[str, str] | None = None) -> list[Piece]:
    """What is streamed of an answer that arrives in ``parts``, and is not asked for again."""

    def respond(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=headers or EVENTS, stream=Parts(parts))

    async def gather() -> list[Piece]:
        options = UpstreamOptions("http://upstream/v1", "some-model", retries=0)
        model = UpstreamModel(options, transport=httpx.MockTransport(respond))
        try:
            request = CompletionRequest(Prompt((Message("user", "Say hello."),)))
            return [piece async for piece in model.stream(request)]
        finally:
            await model.aclose()

    return asyncio.run(gather())


def failure(
    *parts: bytes, status: int = 200, headers: dict[str, str] | None = None
) -> ReflectorError:
    with pytest.raises(ReflectorError) as found:
        answer(*parts, status=status, headers=headers)
    return found.value


def event(found: object) -> bytes:
    return b"data: " + json.dumps(found).encode() + b"\n\n"


def piece(text: str | None, finish: str | None = None) -> bytes:
    return event({"choices": [{"delta": {"content": text}, "finish_reason": finish}]})


END = piece("", "stop")


@pytest.mark.parametrize(
    "odd",
    [
        event({"choices": None}),
        event({"choices": []}),
        event({"choices": [{"delta": None}]}),
        event({"choices": [{"delta": {"content": None}}], "error": None}),
        event({"choices": [], "usage": {"prompt_tokens": None, "completion_tokens": None}}),
        event({"choices": [], "usage": None}),
        b": a comment\n\n",
        b"event: message\n",
        b"\r\n",
    ],
)
def test_what_says_nothing_is_passed_over(odd: bytes) -> None:
    assert answer(odd, piece("Hello."), odd, END, b"data: [DONE]\n\n") == ["Hello.", HELLO]


def test_the_last_line_may_lack_its_end() -> None:
    assert answer(piece("Hello."), END.strip()) == ["Hello.", HELLO]


def test_an_answer_that_is_not_streamed() -> None:
    whole = {
        "choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }
    body = json.dumps(whole, indent=1).encode()
    found = answer(body[:9], body[9:], headers={"content-type": "application/json; charset=utf-8"})
    assert found == ["Hello.", Completion("Hello.", "stop", 3, 2)]


def test_halves_of_a_character_are_joined() -> None:
    party = "\ud83c\udf89".encode("utf-16", "surrogatepass").decode("utf-16")
    assert answer(piece("a\ud83c"), piece("\udf89b"), END)[:2] == ["a", f"{party}b"]
    lonely = answer(piece("a\udf89"), piece("b\ud83c"), END)
    assert lonely == ["a\ufffd", "b", Completion("a\ufffdb", "stop", 0, 0)]


SENSELESS = {
    "deep": (b"data: " + b"[" * 200_000 + b"\n\n",),
    "negative": (event({"usage": {"prompt_tokens": -1}}),),
    "a line without end": (b"data: ", *[b"x" * 100_000] * 20),
}


@pytest.mark.parametrize("parts", SENSELESS.values(), ids=SENSELESS)
def test_what_makes_no_sense_is_told(parts: Sequence[bytes]) -> None:
    assert "makes no sense" in failure(*parts).message


def test_a_compression_that_is_none_is_a_broken_connection() -> None:
    error = failure(b"no gzip", headers={**EVENTS, "content-encoding": "gzip"})
    assert isinstance(error, UpstreamFailed)
    assert "DecodingError" in error.message


@pytest.mark.parametrize("body", [b"[" * 50_000, b"", b'{"error": "\\ud83c"}'])
def test_a_refusal_in_any_form_is_told(body: bytes) -> None:
    error = failure(body, status=400)
    assert isinstance(error, InvalidRequest)
    assert error.message.encode()


def test_a_server_that_is_busy_for_ever_is_asked_again_after_an_hour() -> None:
    error = failure(status=429, headers={"retry-after": "9" * 400})
    assert isinstance(error, Overloaded)
    assert error.retry_after == 3600


@given(
    st.lists(
        st.sampled_from(
            [b"data:", b"data: {", b'{"choices":[{"delta":{"content":"a"}}]}', b"[DONE]"]
        )
        | st.sampled_from([b"\n", b"\n\n", b"\r\n", b"event: x", b"[[[[", b"null", b"\xff", b": "])
        | st.binary(max_size=20),
        max_size=12,
    )
)
def test_whatever_a_server_streams_is_an_answer_or_an_error_of_ours(parts: list[bytes]) -> None:
    try:
        pieces = answer(*parts)
    except ReflectorError:
        return
    assert pieces


@given(st.integers(1, 60))
def test_an_answer_in_any_pieces(size: int) -> None:
    said = {"choices": [{"delta": {"content": "Hello."}, "finish_reason": "stop"}]}
    body = event(said) + b"data: [DONE]\n\n"
    whole = answer(body)
    assert whole[-1] == HELLO
    assert answer(*(body[at : at + size] for at in range(0, len(body), size))) == whole
