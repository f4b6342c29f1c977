"""A language model in CTranslate2's form, by the tiny one that was trained for these tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.engines.completion.catalog import completer_of
from reflector_gpu.engines.completion.generator import Generator, local
from reflector_gpu.errors import (
    ConfigurationError,
    ContextExceeded,
    InvalidRequest,
    ModelNotInstalled,
    ReflectorError,
)
from reflector_gpu.types import Completion, Message, Prompt, Role, SamplingOptions
from tests.engines.tiny import FIXTURES

LLM = FIXTURES / "llm-tiny"
GREEDY = SamplingOptions(temperature=0)
SUMMARY = "The team agreed on the budget and will review the report on Friday."
COUNT = "one two three four five six seven eight nine ten"
GREETINGS = "Grüße aus Köln 🎉, 東京 und São Paulo!"


@dataclass
class Audience:
    """Hears everything; wants no more of an answer once it has heard ``enough`` of its pieces."""

    enough: int = 10**9
    said: dict[int, list[object]] = field(default_factory=dict)

    def say(self, index: int, part: object) -> bool:
        pieces = self.said.setdefault(index, [])
        pieces.append(part)
        return len(pieces) >= self.enough

    def text(self, index: int) -> str:
        return "".join(map(str, self.said.get(index, [])))


def prompt(
    text: str, *, system: str = "", max_tokens: int | None = None, stop: Sequence[str] = ()
) -> Prompt:
    turns: list[tuple[Role, str]] = [("system", system)] if system else []
    messages = tuple(Message(role, content) for role, content in [*turns, ("user", text)])
    return Prompt(messages, max_tokens, tuple(stop))


def generator(folder: Path = LLM) -> Generator:
    model = local(folder)
    assert model
    return Generator(**model.arguments)


@pytest.fixture(scope="module")
def tiny() -> Iterator[Generator]:
    found = generator()
    found.load()
    yield found
    found.close()


def answer(
    tiny: Generator, *prompts: Prompt, audience: Audience | None = None
) -> list[Completion | ReflectorError]:
    return list(tiny.complete(prompts, GREEDY, audience or Audience()))


def one(tiny: Generator, asked: Prompt) -> Completion:
    (found,) = answer(tiny, asked)
    assert isinstance(found, Completion), found
    return found


PROMPTS = {
    SUMMARY: prompt("Summarize the meeting."),
    COUNT: prompt("Count to ten."),
    GREETINGS: prompt("Send greetings."),
    "I am Otto.": prompt("Who are you?", system="You are Otto."),
    "I am Anna.": prompt("Who are you?", system="You are Anna."),
    "Hello! How can I help you?": prompt("Say hello."),
}


@pytest.mark.parametrize("text", PROMPTS)
def test_the_tiny_model_gives_the_answers_of_its_corpus(tiny: Generator, text: str) -> None:
    found = one(tiny, PROMPTS[text])
    assert (found.text, found.finish) == (text, "stop")
    assert found.prompt_tokens > 10
    assert 0 < found.completion_tokens < len(text)


def test_it_reads_the_whole_conversation(tiny: Generator) -> None:
    first = Message("user", "Say hello.")
    said = Message("assistant", "Hello! How can I help you?")
    again = Prompt((first, said, Message("user", "Again.")))
    assert one(tiny, again).text == "Hello again!"


def test_answers_are_the_same_whatever_is_beside_them(tiny: Generator) -> None:
    mixed = [
        *PROMPTS.values(),
        prompt("Never stop.", max_tokens=40),
        prompt("Count to ten.", max_tokens=3),
        prompt("Never stop. " * 1000),
        prompt("Who are you?", system="You are Anna. " * 60),
    ]
    together = answer(tiny, *mixed)
    alone = [answer(tiny, each)[0] for each in mixed]
    for one_way, other_way in zip(together, alone, strict=True):
        if isinstance(one_way, Completion):
            assert one_way == other_way
        else:
            assert vars(one_way) == vars(other_way)


def test_what_is_heard_on_the_way_spells_the_answers(tiny: Generator) -> None:
    audience = Audience()
    found = answer(tiny, *PROMPTS.values(), audience=audience)
    assert [audience.text(index) for index in range(len(found))] == list(PROMPTS)
    assert all(len(pieces) > 1 for pieces in audience.said.values())


def test_tokens_are_limited(tiny: Generator) -> None:
    found = one(tiny, prompt("Count to ten.", max_tokens=4))
    assert found == Completion("one two three four", "length", found.prompt_tokens, 4)


def test_an_answer_may_be_as_long_as_its_limit(tiny: Generator) -> None:
    whole = one(tiny, PROMPTS[COUNT])
    exactly = one(tiny, prompt("Count to ten.", max_tokens=whole.completion_tokens))
    assert exactly == whole


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        ([" four"], "one two three"),
        (["r fiv"], "one two three fou"),
        (["ten", "o t"], "one tw"),
        (["eleven"], COUNT),
        (["one"], ""),
        (["ten and more"], COUNT),
    ],
)
def test_stop_sequences_end_it_across_the_borders_of_tokens(
    tiny: Generator, stop: list[str], text: str
) -> None:
    audience = Audience()
    (found,) = answer(tiny, prompt("Count to ten.", stop=stop), audience=audience)
    assert isinstance(found, Completion)
    assert (found.text, found.finish) == (text, "stop")
    assert audience.text(0) == text


def test_an_answer_that_nobody_wants_any_more_of_ends_and_others_go_on(tiny: Generator) -> None:
    audience = Audience(enough=15)
    endless, counted = answer(
        tiny, prompt("Never stop."), prompt("Count to ten."), audience=audience
    )
    assert isinstance(endless, Completion)
    assert isinstance(counted, Completion)
    assert endless.completion_tokens == 15
    assert counted.text == COUNT


def test_an_answer_ends_where_the_context_does(tmp_path: Path) -> None:
    folder = shutil.copytree(LLM, tmp_path / "short")
    model = completer_of(str(folder), 40)
    assert model.spec.context == 40
    short = Generator(**model.arguments)
    short.load()
    found = one(short, prompt("Never stop."))
    assert (found.finish, found.prompt_tokens + found.completion_tokens) == ("length", 40)
    short.close()


def test_a_prompt_over_the_context_is_told_both_numbers(tiny: Generator) -> None:
    good, bad = answer(tiny, PROMPTS[COUNT], prompt("Never stop. " * 1000))
    assert isinstance(good, Completion)
    assert isinstance(bad, ContextExceeded)
    assert "4011" in bad.message
    assert "2048" in bad.message


def test_sampling_differs_from_the_likeliest_and_a_small_top_p_does_not(tiny: Generator) -> None:
    asked = prompt("Summarize the meeting.", max_tokens=30)
    hot, narrow = SamplingOptions(temperature=2.0), SamplingOptions(temperature=2.0, top_p=0.01)
    texts = {str(found) for found in tiny.complete([asked] * 8, hot, Audience())}
    assert len(texts) > 1
    for found in tiny.complete([asked] * 8, narrow, Audience()):
        assert isinstance(found, Completion)
        assert found.text == SUMMARY


def edited(folder: Path, name: str, **values: object) -> Path:
    """A copy of the model with other values in one of its files; None: without them."""
    copy = shutil.copytree(LLM, folder / "edited")
    found = json.loads((copy / name).read_text())
    found = {key: value for key, value in {**found, **values}.items() if value is not None}
    (copy / name).write_text(json.dumps(found))
    return copy


def test_the_chat_template_may_stand_in_the_tokenizers_configuration(tmp_path: Path) -> None:
    template = (LLM / "chat_template.jinja").read_text()
    copy = edited(tmp_path, "tokenizer_config.json", chat_template=template)
    (copy / "chat_template.jinja").unlink()
    other = generator(copy)
    other.load()
    assert one(other, PROMPTS[COUNT]).text == COUNT
    other.close()


@pytest.mark.parametrize(
    ("template", "message"),
    [(None, "no chat template"), ("{% if %}", "does not work")],
)
def test_a_model_without_a_chat_template_does_not_load(
    template: str | None, message: str, tmp_path: Path
) -> None:
    copy = edited(tmp_path, "tokenizer_config.json", chat_template=template)
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(ModelNotInstalled, match=message):
        generator(copy).load()


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('Roles must alternate') }}",
        "{{ messages[0].content + 1 }}",
        "{{ messages[7].content.strip() }}",
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ (1).__class__.__base__.__subclasses__()[0]() }}",
    ],
)
def test_a_template_that_refuses_or_reaches_out_of_its_sandbox_is_an_error(
    template: str, tmp_path: Path
) -> None:
    copy = edited(tmp_path, "tokenizer_config.json")
    (copy / "chat_template.jinja").write_text(template)
    other = generator(copy)
    other.load()
    (found,) = answer(other, PROMPTS[COUNT])
    assert isinstance(found, InvalidRequest)
    other.close()


def test_a_folder_without_a_language_model_is_refused(tmp_path: Path) -> None:
    for folder in ("", str(tmp_path), str(FIXTURES / "parakeet-tiny")):
        with pytest.raises(ConfigurationError, match="REFLECTOR_LLM_MODEL"):
            completer_of(folder)


def test_weights_that_are_broken_do_not_load(tmp_path: Path) -> None:
    copy = shutil.copytree(LLM, tmp_path / "broken")
    (copy / "model.bin").write_bytes(b"nothing")
    with pytest.raises(ModelNotInstalled, match="cannot be loaded"):
        generator(copy).load()


@given(st.integers(1, 60), st.lists(st.sampled_from(COUNT.split()), max_size=2))
def test_what_is_streamed_is_what_is_answered(tiny: Generator, limit: int, stop: list[str]) -> None:
    audience = Audience()
    asked = prompt("Count to ten.", max_tokens=limit, stop=stop)
    (found,) = answer(tiny, asked, audience=audience)
    assert isinstance(found, Completion)
    assert audience.text(0) == found.text
    assert COUNT.startswith(found.text)
    assert not any(each in found.text for each in stop)
