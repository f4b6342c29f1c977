"""Language models on CTranslate2: the prompts of different requests in one batch, streamed.

A folder holds what ``ct2-transformers-converter --copy_files tokenizer.json tokenizer_config.json
chat_template.jinja generation_config.json`` makes of a model: Qwen, Llama, Gemma, Mistral, Phi and
the others that it knows. CTranslate2 reads no grammars, so it cannot enforce a schema;
`reflector_gpu.llm.schema` checks answers instead.

A batch runs until its longest answer is done, and no prompt joins it meanwhile. CTranslate2's
random generators cannot be seeded again (its issue 1757), so ``seed`` has no effect.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reflector_gpu.engines.accelerators import ctranslate2_batch, load_cublas
from reflector_gpu.engines.base import needs_extra
from reflector_gpu.engines.completion.base import CompleterModel, CompleterSpec, Progress
from reflector_gpu.engines.completion.chat import ChatTemplate, end_tokens, longest_context
from reflector_gpu.engines.outcomes import each, together
from reflector_gpu.engines.recognition.spelling import Spelling
from reflector_gpu.errors import (
    ContextExceeded,
    ModelNotInstalled,
    ReflectorError,
)
from reflector_gpu.types import Completion, Prompt, SamplingOptions

if TYPE_CHECKING:
    import tokenizers

_FILES = ("model.bin", "config.json", "tokenizer.json")
_TEMPERATURE = 0.7  # of requests that name none; the models' cards advise 0.6 to 0.7
_GREEDY = 1e-3  # lower temperatures count as 0
_FORCED = 64  # tokens: see `_by_length`
_CONTEXT = 4096  # tokens, if neither the model's files nor the operator say

MAX_BATCH = 8

PACKAGES = ("ctranslate2", "jinja2", "tokenizers")


def local(folder: Path, context: int = 0) -> CompleterModel | None:
    """The language model in ``folder``, if there is one. It has the folder's name.

    ``context`` limits the tokens that it reads and writes; 0 leaves that to its files.
    """
    if not all((folder / file).is_file() for file in _FILES):
        return None
    most = longest_context(folder) or context or _CONTEXT
    spec = CompleterSpec(
        max_batch=MAX_BATCH,
        context=min(most, context or most),
        devices=("cpu", "cuda"),
        compute_types=True,
    )
    return CompleterModel(
        folder.resolve().name,
        f"{__name__}:{Generator.__name__}",
        spec,
        "A language model from a local folder, on CTranslate2",
        "see the folder",
        packages=PACKAGES,
        extra="llm",
        arguments={"weights": str(folder), "context": str(spec.context)},
    )


def planned(folder: Path, context: int = 0) -> CompleterModel:
    """As `local`, for a ``folder`` that may be on another machine, on which the model will run."""
    return local(folder, context) or CompleterModel(
        folder.name,
        f"{__name__}:{Generator.__name__}",
        CompleterSpec(max_batch=MAX_BATCH, context=0, devices=("cpu", "cuda")),
        "A language model in a folder of its own",
        "see the folder",
        packages=PACKAGES,
        extra="llm",
        arguments={"weights": str(folder), "context": str(context)},
    )


class Generator:
    """``weights`` is a folder in CTranslate2's form; ``context`` is in tokens.

    ``device`` is ``cpu`` or ``cuda``; ``compute_type`` is CTranslate2's, by default that of the
    weights.
    """

    def __init__(
        self, weights: str, context: str, device: str = "cpu", compute_type: str = "default"
    ) -> None:
        self._weights = Path(weights)
        self._context = int(context)
        self._device = device
        self._compute_type = compute_type
        self._generator: Any = None

    def load(self) -> None:
        with needs_extra("Language models", "llm"):
            import ctranslate2
            import tokenizers
        if self._device == "cuda":
            load_cublas()
        self._template = ChatTemplate(self._weights)
        self._tokenizer: tokenizers.Tokenizer = tokenizers.Tokenizer.from_file(
            str(self._weights / "tokenizer.json")
        )
        names, numbers = end_tokens(self._weights)
        known = {self._tokenizer.token_to_id(name) for name in names}
        self._ends = {*numbers, *(number for number in known if number is not None)}
        try:
            self._generator = ctranslate2.Generator(
                str(self._weights),
                device=self._device,
                compute_type=self._compute_type,
                intra_threads=int(os.environ.get("OMP_NUM_THREADS", "0")),
            )
        except (RuntimeError, ValueError) as error:  # all that CTranslate2 raises
            raise ModelNotInstalled(f"This language model cannot be loaded: {error}") from error

    def complete(
        self, prompts: Sequence[Prompt], options: SamplingOptions, progress: Progress
    ) -> Sequence[Completion | ReflectorError]:
        """Answer ``prompts``, as `Completer` says.

        Raises:
            EngineFailed: the device has no memory for so many prompts at once.
        """
        assert self._generator is not None, "load() comes first"

        def completed(answers: Sequence[_Answer]) -> list[Completion]:
            for group in _by_length(answers):
                self._generate(group, options, progress)
            return [answer.completion for answer in answers]

        begun = each(lambda numbered: self._begun(*numbered), enumerate(prompts))
        return together(completed, _Answer, begun)

    def close(self) -> None:
        self._generator = None

    def _begun(self, index: int, prompt: Prompt) -> _Answer:
        encoding = self._tokenizer.encode(
            self._template.render(prompt.messages), add_special_tokens=False
        )
        room = self._context - len(encoding.ids)
        if room < 1:
            raise ContextExceeded(
                f"The prompt has {len(encoding.ids)} tokens, and this model reads "
                f"{self._context} with its answer.",
                param="messages",
            )
        spelling = Spelling(self._tokenizer.decode, prompt.stop)
        limit = min(prompt.max_tokens or room, room)
        return _Answer(index, encoding.tokens, limit, spelling, self._ends)

    def _generate(
        self, answers: Sequence[_Answer], options: SamplingOptions, progress: Progress
    ) -> None:
        def take(step: Any) -> bool:
            """Take the next token of an answer. True ends the answer."""
            answer = answers[step.batch_id]
            text = answer.take(step.token_id)
            return progress.say(answer.index, text) or answer.over

        temperature = _TEMPERATURE if options.temperature is None else options.temperature
        greedy = temperature < _GREEDY
        with ctranslate2_batch("The language model", len(answers)):
            self._generator.generate_batch(
                [answer.prompt for answer in answers],
                max_length=max(answer.limit for answer in answers),
                include_prompt_in_result=False,
                end_token=sorted(self._ends),
                sampling_topk=1 if greedy else 0,
                sampling_topp=1.0 if options.top_p is None else max(options.top_p, _GREEDY),
                sampling_temperature=1.0 if greedy else temperature,
                callback=take,
            )
        for answer in answers:
            if rest := answer.spelling.finish():
                progress.say(answer.index, rest)


@dataclass(slots=True)
class _Answer:
    """An answer that is being written. It has ``limit`` tokens at most, and ``ends`` end it."""

    index: int
    prompt: list[str]
    limit: int
    spelling: Spelling
    ends: set[int]
    tokens: int = 0
    ended: bool = False

    def take(self, token: int) -> str:
        """The text that ``token`` has made certain."""
        if self.over:
            return ""
        self.tokens += 1
        if token in self.ends:
            self.ended = True
            return ""
        return self.spelling.add(token)

    @property
    def over(self) -> bool:
        return self.ended or self.spelling.stopped or self.tokens >= self.limit

    @property
    def completion(self) -> Completion:
        return Completion(
            self.spelling.text,
            "stop" if self.ended or self.spelling.stopped else "length",
            len(self.prompt),
            self.tokens,
        )


def _by_length(answers: Sequence[_Answer]) -> list[list[_Answer]]:
    """``answers`` in groups whose prompts have about the same length.

    CTranslate2 reads as many tokens of a batch at once as its shortest prompt has. It reads the
    rest of the longer ones token by token.
    """
    groups: list[list[_Answer]] = []
    for answer in sorted(answers, key=lambda answer: len(answer.prompt)):
        if groups and len(answer.prompt) - len(groups[-1][0].prompt) <= _FORCED:
            groups[-1].append(answer)
        else:
            groups.append([answer])
    return groups
