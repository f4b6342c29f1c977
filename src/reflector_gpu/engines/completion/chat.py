"""A language model's tokenizer files: how conversations are written, and how answers end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from reflector_gpu.errors import InvalidRequest, ModelNotInstalled
from reflector_gpu.types import Message

if TYPE_CHECKING:
    import jinja2

_TEMPLATE = "chat_template.jinja"
_CONFIG = "tokenizer_config.json"
_LONGEST = 10**7  # tokens: "no limit" is written as a huge number


class ChatTemplate:
    """The form in which the model was trained to read conversations.

    It is rendered as transformers does (``utils/chat_template_utils.py``), but in a sandbox: it is
    code that comes with the weights.
    """

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            ModelNotInstalled: there is none, or it does not work.
        """
        import jinja2

        config = tokenizer_config(folder)
        source = _source(folder, config)
        if source is None:
            raise ModelNotInstalled(
                "The folder of this language model has no chat template: copy "
                f"{_CONFIG} and {_TEMPLATE} from the original model into it."
            )
        self._special = {
            name: _content(value)
            for name, value in config.items()
            if name.endswith("_token") and isinstance(value, str | dict)
        }
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateError as error:
            raise ModelNotInstalled(f"The model's chat template does not work: {error}") from error

    def render(self, messages: Sequence[Message]) -> str:
        """The text that the model continues.

        Raises:
            InvalidRequest: the template does not take such a conversation.
        """
        try:
            return self._template.render(
                messages=[{"role": m.role, "content": m.content} for m in messages],
                add_generation_prompt=True,
                enable_thinking=False,  # Qwen3 and others: answer at once
                **self._special,
            )
        except Exception as error:  # a template is code, and may raise anything
            raise InvalidRequest(
                f"The model's chat template does not take these messages: {error}",
                param="messages",
            ) from error


def tokenizer_config(folder: Path) -> dict[str, object]:
    return _read(folder / _CONFIG)


def longest_context(folder: Path) -> int | None:
    """How many tokens the model reads, if its files say so."""
    found = tokenizer_config(folder).get("model_max_length")
    return int(found) if isinstance(found, int | float) and 0 < found < _LONGEST else None


def end_tokens(folder: Path) -> tuple[list[str], list[int]]:
    """The tokens that end an answer, some by their text and some by their number."""
    names = {_content(tokenizer_config(folder).get("eos_token"))}
    names.add(_content(_read(folder / "config.json").get("eos_token")))
    numbers = _read(folder / "generation_config.json").get("eos_token_id")
    listed = numbers if isinstance(numbers, list) else [numbers]
    return sorted(names - {""}), [number for number in listed if isinstance(number, int)]


def _environment() -> jinja2.Environment:
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
    return environment


def _to_json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    import jinja2

    raise jinja2.TemplateError(message)


def _source(folder: Path, config: dict[str, object]) -> str | None:
    file = folder / _TEMPLATE
    if file.is_file():
        return file.read_text(encoding="utf-8")
    found = config.get("chat_template")
    if isinstance(found, list):  # several by name
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else None


def _content(token: object) -> str:
    """The text of a token, which is written alone or with its properties."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""


def _read(file: Path) -> dict[str, object]:
    """The object in a JSON file; empty if there is none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
