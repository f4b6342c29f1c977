"""The protocol of translators, and the languages that each translates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import ClassVar, Protocol

from reflector_gpu.engines.base import EngineSpec, Model
from reflector_gpu.engines.capability import Batching, Capability
from reflector_gpu.errors import ReflectorError, UnsupportedLanguage
from reflector_gpu.languages import match, tag
from reflector_gpu.types import TranslateOptions

TRANSLATION = Capability(
    kind="translator",
    purpose="translates text",
    method="translate",
    stage="translate",
    reads_weights=True,
)

_SHOWN = 100  # codes that an error lists
_LONGEST = 20  # characters of a client's code that an error repeats


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslatorSpec(EngineSpec):
    """What else the service must know about a translator.

    One call takes ``max_batch`` texts, which have ``max_batch_characters`` in all once each is
    padded to the longest. A single text has ``max_characters`` at most. ``needs_sentences`` means
    that a text must be one sentence.
    """

    max_batch: int
    max_batch_characters: int
    max_characters: int
    needs_sentences: bool = False

    @property
    def batching(self) -> Batching:
        return Batching(max_items=self.max_batch, max_cost=self.max_batch_characters)


class Translator(Protocol):
    """Translates text. One instance lives in one process and is called by one thread."""

    def load(self) -> None:
        """As in `engines.recognition.base.Recogniser`."""

    def translate(
        self, texts: Sequence[str], options: TranslateOptions
    ) -> Sequence[str | ReflectorError]:
        """Translate ``texts``, each of one line: one translation or one error for each, in order.

        Raises:
            EngineFailed: as in `engines.recognition.base.Recogniser`.
        """

    def close(self) -> None:
        """Free what `load` took."""


@dataclass(frozen=True, slots=True)
class TranslatorModel(Model[str, str]):
    """A translator by name. ``read`` finds its directions from the engine's arguments."""

    capability: ClassVar[Capability] = TRANSLATION
    spec: TranslatorSpec
    read: Callable[[Mapping[str, str]], Directions] = field(kw_only=True)

    @property
    def directions(self) -> Directions:
        """What it translates, as its files or its program say. Blocks while they are read.

        Raises:
            ModelNotInstalled: they are not here.
        """
        self.check_installed()
        found = {"weights": str(self.weights.folder)} if self.weights else {}
        return self.read({**found, **self.arguments})


class Directions:
    """The languages from which a model translates, each with those to which it does."""

    def __init__(self, targets: Mapping[str, Sequence[str]]) -> None:
        """``targets`` has the model's own codes. Those that are no language tags are left out."""
        self._targets = {
            source: tuple(target for target in reachable if tag(target))
            for source, reachable in targets.items()
            if tag(source)
        }

    @property
    def sources(self) -> list[str]:
        """The languages from which it translates, as sorted tags of BCP 47."""
        return _tags(self._targets)

    @property
    def targets(self) -> list[str]:
        return _tags(chain.from_iterable(set(self._targets.values())))

    @property
    def pairs(self) -> list[tuple[str, str]] | None:
        """The directions. None: from every source to every target."""
        if len({frozenset(reachable) for reachable in self._targets.values()}) < 2:
            return None
        return sorted((s, t) for source in self._targets for s, t in self._tagged(source))

    def resolve(self, source: str, target: str) -> TranslateOptions:
        """The model's own codes for the languages that a client names.

        Raises:
            UnsupportedLanguage: it does not know one of them, or not this pair. The message lists
                those that it knows.
        """
        known = match(source, tuple(self._targets))
        if known is None:
            raise UnsupportedLanguage(
                f"Nothing here translates from '{source[:_LONGEST]}', but from: "
                f"{_listed(self.sources)}.",
                param="source_language",
            )
        found = match(target, self._targets[known])
        if found is None:
            raise UnsupportedLanguage(
                f"Nothing here translates from '{source[:_LONGEST]}' to '{target[:_LONGEST]}', "
                f"but to: {_listed(_tags(self._targets[known]))}.",
                param="target_language",
            )
        return TranslateOptions(known, found)

    def check_target(self, target: str) -> None:
        """Raise `UnsupportedLanguage` unless some source can be translated to ``target``."""
        if not any(match(target, reachable) for reachable in set(self._targets.values())):
            raise UnsupportedLanguage(
                f"Nothing here translates to '{target[:_LONGEST]}', but to: "
                f"{_listed(self.targets)}.",
                param="target_language",
            )

    def _tagged(self, source: str) -> Iterable[tuple[str, str]]:
        for target in self._targets[source]:
            yield str(tag(source)), str(tag(target))


def _tags(codes: Iterable[str]) -> list[str]:
    return sorted({found for code in codes if (found := tag(code))})


def _listed(codes: Sequence[str]) -> str:
    more = f" and {len(codes) - _SHOWN} more" if len(codes) > _SHOWN else ""
    return ", ".join(codes[:_SHOWN]) + more
