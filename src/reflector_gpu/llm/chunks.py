"""The pieces of a streamed answer, as OpenAI's API and similar servers send them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict, NonNegativeInt

from reflector_gpu.types import ToolCall, ToolCallPiece


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Function(_Lenient):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(_Lenient):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(_Lenient):
    content: str | None = None
    refusal: str | None = None
    tool_calls: tuple[_ToolCall, ...] | None = None


class _Choice(_Lenient):
    delta: _Delta | None = None
    message: _Delta | None = None
    """The whole answer, if the server does not stream."""
    finish_reason: str | None = None

    @property
    def text(self) -> str:
        said = self.delta or self.message
        return (said.content or said.refusal or "") if said else ""

    @property
    def tool_calls(self) -> tuple[_ToolCall, ...]:
        said = self.delta or self.message
        return (said.tool_calls or ()) if said else ()


class Usage(_Lenient):
    prompt_tokens: NonNegativeInt | None = None
    completion_tokens: NonNegativeInt | None = None


class CompletionChunk(_Lenient):
    """An event of a streamed answer, or a whole answer that is not streamed."""

    choices: tuple[_Choice, ...] | None = None
    usage: Usage | None = None


class ToolCalls:
    """Puts the tool calls of one answer together from their pieces."""

    def __init__(self) -> None:
        self._calls: dict[int, ToolCall] = {}
        self._halves: dict[int, str] = {}

    def add(self, sent: Sequence[_ToolCall]) -> Iterator[ToolCallPiece]:
        """What ``sent`` adds, with calls numbered from 0.

        Servers that do not number their calls send each in one piece.
        """
        for one in sent:
            key = len(self._calls) if one.index is None else one.index
            function = one.function or _Function()
            begins = key not in self._calls
            if begins:
                self._calls[key] = ToolCall(one.id or f"call_{uuid.uuid4().hex}", "", "")
            call = self._calls[key]
            more, self._halves[key] = characters(
                self._halves.get(key, "") + (function.arguments or "")
            )
            name = characters(function.name or "")[0]
            self._calls[key] = ToolCall(call.id, call.name + name, call.arguments + more)
            if begins or more or name:
                number = list(self._calls).index(key)
                yield ToolCallPiece(
                    number, more, call.id if begins else None, name if begins or name else None
                )

    @property
    def whole(self) -> tuple[ToolCall, ...]:
        return tuple(self._calls.values())


def characters(text: str) -> tuple[str, str]:
    """The whole characters of ``text``, and half of one at its end.

    JSON may spell a character as two escapes, and a server may send them in two pieces.
    """
    half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
    whole = text.removesuffix(half).encode("utf-16-le", "surrogatepass")
    return whole.decode("utf-16-le", "replace"), half
