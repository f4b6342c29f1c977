"""Choose a translator for each text, cut the text for it, and give it to its workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from reflector_gpu.engines.base import AnyModel
from reflector_gpu.engines.translation.base import Directions, TranslatorModel
from reflector_gpu.engines.translation.catalog import TRANSLATORS
from reflector_gpu.errors import (
    EngineLoading,
    InvalidRequest,
    TooLarge,
    UnsupportedLanguage,
    blaming,
)
from reflector_gpu.languages import alike, check, read, tag
from reflector_gpu.pipeline.translation import Splitting, TranslateAll, translate
from reflector_gpu.service.worker_pools import WorkerPools
from reflector_gpu.settings import Settings
from reflector_gpu.types import Priority, TranslateOptions

DEFAULT_SOURCE = "en"
"""The language of a transcript if nobody has said it and nothing has detected it."""


@dataclass(frozen=True, slots=True)
class Translated:
    """Translated ``texts``, and the name of the translator.

    Without a translator, the texts were in the wanted language already.
    """

    texts: Sequence[str]
    model: str | None


class Translations:
    """The configured translators. The first one that knows a pair of languages translates it."""

    def __init__(
        self, settings: Settings, workers: WorkerPools, check_here: Callable[[AnyModel], None]
    ) -> None:
        """``check_here`` raises `Unavailable` for what is not installed.

        Raises:
            ConfigurationError: a translator does not exist.
        """
        self.models = [TRANSLATORS.find(name, {}) for name in settings.translator]
        self._settings = settings
        self._workers = workers
        self._check_here = check_here

    async def translate(
        self, texts: Sequence[str], source: str, target: str, priority: Priority
    ) -> Translated:
        """Translate ``texts`` to the language ``target``. Languages are codes, tags or names.

        Raises:
            UnsupportedLanguage: one is no language, or no translator knows this pair.
            TooLarge: there are more characters than the limit.
            Unavailable: the translator is not installed or does not work.
        """
        self._check(source, target, sum(map(len, texts)))
        resolved = await self._resolve(source, target)
        if resolved is None:
            return Translated(texts, None)
        model, options = resolved
        pool = self._workers.pool(model)
        await pool.ready(self._settings.load_seconds)

        async def submit(text: str) -> str:
            return await pool.submit(text, options, cost=len(text), priority=priority)

        splitting = Splitting(
            str(tag(options.source)).partition("-")[0],
            model.spec.needs_sentences,
            model.spec.max_characters,
        )
        ahead = model.spec.max_batch * (pool.workers + 1)
        found = await translate(texts, splitting, submit, ahead=ahead)
        return Translated(found, model.name)

    def of_segments(self, target: str, priority: Priority) -> TranslateAll:
        """What `pipeline.translation.with_translations` calls. Recordings may have any length."""

        async def translate_all(texts: Sequence[str], language: str | None) -> Sequence[str]:
            longest = self._settings.translate_characters
            done: list[str] = []
            with _blaming("translate_to"):
                for some in _portions(texts, longest):
                    source = language or DEFAULT_SOURCE
                    done += (await self.translate(some, source, target, priority)).texts
            return done

        return translate_all

    async def check_target(
        self, source: str | None, target: str, field: str = "translate_to"
    ) -> None:
        """Check that a transcript can be translated. ``source`` is None if it is not known yet.

        Raises:
            As `translate`, but the error names ``field``.
        """
        with _blaming(field):
            self._check(source or DEFAULT_SOURCE, target, 0)
            await self._resolve(source, target)

    async def known(self) -> list[tuple[TranslatorModel, Directions]]:
        """The translators that are here, and the directions that they know.

        Raises:
            Unavailable: none is.
        """
        found = await self._here()
        for model in self.models if not found else ():
            self._check_here(model)
        return found

    def check_possible(self, recogniser: str, also: str | None) -> None:
        """Check that text can be translated in place of speech that ``recogniser`` hears.

        ``also`` is a second language to translate it to, if there is one.

        Raises:
            InvalidRequest: no translator is installed, or there are two languages.
        """
        if also or all(self._workers.missing(model) for model in self.models):
            raise InvalidRequest(
                f"Model '{recogniser}' does not translate speech. Use a multilingual Whisper that "
                "does, such as large-v3 or small, or have the server translate its text "
                "(REFLECTOR_TRANSLATOR).",
                param="model",
            )

    async def _here(self) -> list[tuple[TranslatorModel, Directions]]:
        here = [model for model in self.models if not self._workers.missing(model)]
        return [(model, await asyncio.to_thread(_directions, model)) for model in here]

    def _check(self, source: str, target: str, characters: int) -> None:
        check(source, "source_language")
        check(target, "target_language")
        limit = self._settings.translate_characters
        if characters > limit:
            raise TooLarge(
                f"The text has {characters} characters, and the limit is {limit}.", param="text"
            )

    async def _resolve(
        self, source: str | None, target: str
    ) -> tuple[TranslatorModel, TranslateOptions] | None:
        """The translator of a pair of languages. ``source`` is None if it is not known yet.

        The result is None if the languages are the same to every translator that is here.
        """
        if source is not None and read(source) == read(target):
            return None
        same = source is not None and alike(source, target)
        refusals: list[UnsupportedLanguage] = []
        for model, directions in await self._here():
            try:
                if source is None:
                    directions.check_target(target)
                    return model, TranslateOptions("", target)
                options = directions.resolve(source, target)
            except UnsupportedLanguage as refusal:
                refusals.append(refusal)
                continue
            if options.source != options.target:
                return model, options
            same = True
        if same:
            return None
        for model in self.models:
            self._check_here(model)  # one that is absent might know the pair
        if not refusals:
            raise EngineLoading("The translator has only just come; ask again.", retry_after=1)
        messages = dict.fromkeys(refusal.message for refusal in refusals)
        raise UnsupportedLanguage(" ".join(messages), param=refusals[0].param)


def _directions(model: TranslatorModel) -> Directions:
    return model.directions


def _portions(texts: Sequence[str], longest: int) -> Iterator[Sequence[str]]:
    """Group ``texts`` into runs of at most ``longest`` characters. A longer text is a run of its
    own."""
    run: list[str] = []
    characters = 0
    for text in texts:
        if run and characters + len(text) > longest:
            yield run
            run, characters = [], 0
        run.append(text)
        characters += len(text)
    if run:
        yield run


def _blaming(field: str) -> AbstractContextManager[None]:
    """Errors about a language name ``field``, because the client gave the language there."""
    return blaming({"source_language": field, "target_language": field})
