"""The pieces of an answer as OpenAI's API sends them, and servers that are nearly like it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, NonNegativeInt


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Delta(_Lenient):
    content: str | None = None
    refusal: str | None = None


class _Choice(_Lenient):
    delta: _Delta | None = None
    message: _Delta | None = None
    """All of it, where the server does not stream."""
    finish_reason: str | None = None

    @property
    def text(self) -> str:
        said = self.delta or self.message
        return (said.content or said.refusal or "") if said else ""


class Usage(_Lenient):
    prompt_tokens: NonNegativeInt | None = None
    completion_tokens: NonNegativeInt | None = None


class Chunk(_Lenient):
    """An event of a streamed answer, or all of one that is not streamed."""

    choices: tuple[_Choice, ...] | None = None
    usage: Usage | None = None


def characters(text: str) -> tuple[str, str]:
    """Whole characters, and the half of one at the end: JSON may spell one in two pieces."""
    half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
    whole = text.removesuffix(half).encode("utf-16-le", "surrogatepass")
    return whole.decode("utf-16-le", "replace"), half
