"""Finds the recogniser that a name means, and the one for a request that names none."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reflector_gpu.engines.recognition import names
from reflector_gpu.engines.recognition.base import RecogniserModel, RecogniserSpec
from reflector_gpu.engines.recognition.catalog import MODELS, RECOGNISERS
from reflector_gpu.errors import ConfigurationError, UnknownModel
from reflector_gpu.languages import match_spoken
from reflector_gpu.suggest import suggestion
from reflector_gpu.types import Task

AUTO = "auto"
"""The name that stands for the first of several models that suits a request."""

ANYTHING = "*"
"""The alias for every name that has no other meaning."""

_SHOWN = 100  # characters of a client's name for a model that an error repeats

Closeness = Callable[[RecogniserModel], int]
"""How far a model is from working: one of the six levels below."""

READY, HERE, FAILED, COMING, PULLABLE, ABSENT = range(6)
"""It is loaded; it is installed; it does not load; it will be downloaded when it is needed; it can
be downloaded by hand; it needs packages."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a name means: a ``model`` by its own name, or None for the one that `AUTO` chooses.

    ``speakers`` says whether the name asks for speakers to be told apart.
    """

    model: str | None
    speakers: bool = False


class Recognisers:
    """Finds recognisers by their names and aliases.

    ``default`` is the model of requests that name none, and of OpenAI's names, which clients
    hard-code. ``aliases`` (alias to name) come first, and may override any name. ``folders`` (name
    to folder) add models of the operator, and may override names, too. ``automatic`` are the models
    that `AUTO` chooses from, the preferred one first. ``instead`` (name to name) are forms
    of models that run better here than what the names mean by themselves.

    Raises:
        UnknownModel: ``default`` means no model.
        ConfigurationError: an alias, a folder or an automatic model means no model, or two of them
            contradict each other.
    """

    def __init__(
        self,
        default: str,
        aliases: Mapping[str, str] | None = None,
        folders: Mapping[str, str] | None = None,
        automatic: Sequence[str] = (),
        instead: Mapping[str, str] | None = None,
    ) -> None:
        own = {name: _own(name, Path(folder)) for name, folder in (folders or {}).items()}
        self._own = tuple(own)
        self.models: Mapping[str, RecogniserModel] = ChainMap(own, dict(MODELS)) if own else MODELS
        self.aliases: Mapping[str, str] = dict(aliases or {})
        self._aliases = _folded("REFLECTOR_MODEL_ALIASES", self.aliases)
        self._spelled = {name.casefold(): name for name in MODELS}
        self._spelled |= _folded("REFLECTOR_MODEL_PATHS", {name: name for name in own})
        _check_apart(self.aliases, own)
        self._instead = {name: form for name, form in (instead or {}).items() if name not in own}
        self._automatic: list[str] = []
        self._has_auto = bool(automatic)
        self._configured = default
        for alias in self.aliases:
            self._check("REFLECTOR_MODEL_ALIASES", alias)
        for name in automatic:
            target = self._check("REFLECTOR_AUTO_MODELS", name)
            if target not in self.models:
                raise ConfigurationError(f"REFLECTOR_AUTO_MODELS: '{name}' means 'auto' itself.")
            self._automatic += [target] if target not in self._automatic else []
        self._default = self._meaning(self._chain(default, "REFLECTOR_MODEL"), on_disk).model
        self.default = self.resolve(None, "en")

    @property
    def automatic(self) -> list[RecogniserModel]:
        """The models that `AUTO` chooses from."""
        return [self.models[name] for name in self._automatic]

    @property
    def configured(self) -> list[RecogniserModel]:
        """The default model, or all that `AUTO` may choose from."""
        return [self.default] if self._default else self.automatic

    @property
    def defaults(self) -> list[RecogniserModel]:
        """Those of `configured` that are installed, or else the one that is closest to it."""
        models = self.configured
        return [model for model in models if not model.missing] or [min(models, key=on_disk)]

    def needed(self, models: Sequence[RecogniserModel]) -> list[RecogniserModel]:
        """Those of ``models`` that can be chosen while all of them work.

        The others come after one that `AUTO` prefers and that does all they do. They are chosen
        only if that one fails, and need not be loaded before.
        """
        return [
            model
            for number, model in enumerate(models)
            if not any(_replaces(better.spec, model.spec) for better in models[:number])
        ]

    @property
    def names(self) -> tuple[str, ...]:
        """All names that requests may use, except OpenAI's other names and those of the hub."""
        own = [name for name in self.aliases if name != ANYTHING]
        auto = [AUTO] if self._has_auto else []
        return tuple(dict.fromkeys((*self.models, *own, *auto, names.OPENAI[0])))

    @property
    def chosen(self) -> Mapping[str, Iterable[str]]:
        """The names that the operator has chosen, by their settings."""
        return {"REFLECTOR_MODEL_ALIASES": self.aliases, "REFLECTOR_MODEL_PATHS": self._own}

    def knows(self, name: str) -> bool:
        """Whether ``name`` means a model."""
        return self._known(self._chain(name, "")[-1]) is not None

    def meaning(self, name: str | None, closeness: Closeness | None = None) -> Meaning:
        """What a client means by ``name``.

        Raises:
            UnknownModel: nothing; the message lists the names that are known.
        """
        sent = (name or "").strip()
        chain = self._chain(sent or self._configured, "", otherwise=bool(sent))
        return self._meaning(chain, closeness or on_disk)

    def resolve(
        self,
        name: str | None,
        language: str | None = None,
        task: Task = "transcribe",
        closeness: Closeness | None = None,
        languages: Sequence[str] = (),
    ) -> RecogniserModel:
        """The model for a request, which may name the ``language``, or possible ``languages``.

        Raises:
            UnknownModel: no model has this ``name``. The message lists those that are known.
        """
        if (meant := self.meaning(name, closeness).model) is not None:
            return self.models[meant]
        told = languages if language is None else (language,)
        return self._route(told, task, closeness or on_disk)

    def aliased(self, closeness: Closeness) -> dict[str, RecogniserModel | None]:
        """What each of the operator's aliases means; None: `AUTO` chooses for each request."""
        meant = {name: self.meaning(to, closeness).model for name, to in self.aliases.items()}
        return {name: self.models[model] if model else None for name, model in meant.items()}

    def caveat(self, model: RecogniserModel) -> str | None:
        """A warning, if ``model`` answers requests that name no language, but cannot detect any.

        There is none if the operator chose the model for all requests.
        """
        if self._default or model.spec.detects:
            return None
        languages = sorted(model.spec.languages)
        taken = f"'{languages[0]}'" if len(languages) == 1 else f"one of {', '.join(languages)}"
        return (
            f"None of the automatic models that are here finds out which language is spoken: "
            f"if a request names none, {model.name} takes it to be {taken}."
        )

    def _chain(self, name: str, setting: str, *, otherwise: bool = False) -> list[str]:
        """``name``, the name that it stands for, and so on, up to a model's own or an unknown name.

        With ``otherwise``, a name that is not known stands for what `ANYTHING` stands for.

        Raises:
            ConfigurationError: a name of ``setting`` stands for itself.
        """
        passed: list[str] = []
        step: str | None = name
        while step is not None:
            passed.append(step)
            step = self._step(step, otherwise=otherwise and len(passed) == 1)
            if step is not None and step.casefold() in map(str.casefold, passed):
                chain = "' means '".join((*passed, step))
                raise ConfigurationError(f"{setting}: '{chain}', and so no model at all.")
        return passed

    def _meaning(self, passed: Sequence[str], closeness: Closeness) -> Meaning:
        """What a `_chain` ends with."""
        if (target := self._known(passed[-1])) is None:
            near = suggestion(passed[-1], self.names)
            hint = f"Did you mean '{near}'? " if near else ""
            here = [name for name in self.names if self._is_installed(name, closeness)]
            raise UnknownModel(
                f"Model '{passed[-1][:_SHOWN]}' does not exist here. {hint}"
                f"Installed: {', '.join(here) or 'none'}. All that are known: "
                f"GET /v1/models?all=true, or 'reflector-gpu models list'.",
                param="model",
            )
        model = target if target in self.models else None
        return Meaning(model, any(map(names.tells_speakers, passed)))

    def _is_installed(self, name: str, closeness: Closeness) -> bool:
        """Whether a model that ``name`` may stand for is installed."""
        target = self._known(self._chain(name, "")[-1])
        models = self.automatic if target == AUTO else [self.models[target]] if target else []
        return any(closeness(model) <= FAILED for model in models)

    def _step(self, name: str, *, otherwise: bool) -> str | None:
        """What ``name`` stands for. None if it stands for itself or is unknown."""
        if (alias := self._aliases.get(name.casefold())) is not None and name != ANYTHING:
            return alias
        if (known := self._known(name)) is not None:
            return self._instead.get(known)
        if names.is_openai(name):
            return self._configured
        return self._published(name) or (self._aliases.get(ANYTHING) if otherwise else None)

    def _known(self, name: str) -> str | None:
        """The model's name in its own spelling, or `AUTO`. None if ``name`` is neither."""
        folded = name.casefold()
        spelled = self._spelled.get(folded, name)
        if spelled in self.models:
            return spelled
        return AUTO if folded == AUTO and self._has_auto else None

    def _published(self, name: str) -> str | None:
        """The model that the hub calls ``name``. If it has several forms, one that is installed."""
        wanted = names.essence(name)
        found = [
            model
            for model in MODELS.values()
            if model.weights
            and wanted in map(names.essence, (model.name, model.weights.repository))
        ]
        return min(found, key=on_disk).name if wanted and found else None

    def _route(self, languages: Sequence[str], task: Task, closeness: Closeness) -> RecogniserModel:
        """The model for a request that leaves the choice to us.

        If the request names languages, it is the first model that knows them all. If not, it is the
        first that detects the language: a model of English alone would write French as English. If
        there is none, it is the one that knows the most languages.
        """
        able = self._able(task, closeness)
        broadest = max(able, key=lambda model: len(model.spec.languages))
        if languages:
            fitting = [
                m for m in able if all(match_spoken(one, m.spec.languages) for one in languages)
            ]
            return min(fitting or [broadest], key=lambda model: max(HERE, closeness(model)))
        detecting = [model for model in able if model.spec.detects]
        first = min(detecting, key=closeness, default=broadest)
        if detecting and closeness(first) <= COMING:
            return first
        return min(able, key=lambda model: (closeness(model), -len(model.spec.languages)))

    def _able(self, task: Task, closeness: Closeness) -> list[RecogniserModel]:
        """The automatic models that can do ``task``.

        Those that know only English can translate to it if no other model works.
        """
        models = self.automatic
        if task == "transcribe":
            return models
        able = [model for model in models if model.spec.translates]
        if any(closeness(m) <= COMING for m in models if m.spec.languages != {"en"}):
            return able or models
        return [m for m in models if m.spec.translates or m.spec.languages == {"en"}] or models

    def _check(self, variable: str, name: str) -> str:
        """The model that ``name`` means in the setting ``variable``, or raises an error."""
        last = self._chain(name, variable, otherwise=name == ANYTHING)[-1]
        if (target := self._known(last)) is None:
            known = ", ".join(self.names)
            raise ConfigurationError(f"{variable}: '{last}' is none of {known}.")
        return target


def _replaces(better: RecogniserSpec, other: RecogniserSpec) -> bool:
    """Whether ``better`` does all that ``other`` does."""
    return (
        better.languages >= other.languages
        and better.translates >= other.translates
        and better.detects >= other.detects
    )


def on_disk(model: RecogniserModel, *, downloads: bool = False) -> int:
    """The closeness of ``model`` by what is on disk. ``downloads``: weights come when needed."""
    if not model.missing:
        return HERE
    if not model.downloadable:
        return ABSENT
    return COMING if downloads else PULLABLE


def _folded(variable: str, names: Mapping[str, str]) -> dict[str, str]:
    """``names`` with keys that ignore case.

    Raises:
        ConfigurationError: a name is empty, or two differ only in case.
    """
    found: dict[str, str] = {}
    for name, value in names.items():
        if not name.strip():
            raise ConfigurationError(f"{variable}: a name is empty.")
        if name.casefold() in found:
            raise ConfigurationError(f"{variable}: '{name}' is there twice; case does not count.")
        found[name.casefold()] = value
    return found


def _check_apart(aliases: Iterable[str], folders: Iterable[str]) -> None:
    """Raise `ConfigurationError` if an alias is a folder's name, too, or a folder is ``*``."""
    taken = {name.casefold() for name in folders}
    if ANYTHING in taken:
        raise ConfigurationError("REFLECTOR_MODEL_PATHS: '*' can only be an alias.")
    for alias in aliases:
        if alias.casefold() in taken:
            raise ConfigurationError(
                f"REFLECTOR_MODEL_ALIASES: '{alias}' is also in REFLECTOR_MODEL_PATHS; choose one."
            )


def _own(name: str, folder: Path) -> RecogniserModel:
    """The model in an operator's folder. Its files show the family."""
    if (model := RECOGNISERS.local(name, folder)) is not None:
        return model
    raise ConfigurationError(
        f"REFLECTOR_MODEL_PATHS: '{folder}' ({name}) holds neither a CTranslate2 Whisper "
        "(model.bin, tokenizer.json) nor a Parakeet (vocab.txt and config.json for onnx-asr, "
        "model.safetensors and config.json for transformers, or a .nemo archive) "
        "nor a diarizer (segmentation.onnx, embedding.onnx)."
    )
