"""Which recogniser a client means by a name, and which suits a request that names none."""

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
"""The name that stands for whichever of several models suits a request."""

ANYTHING = "*"
"""The alias for every name that is not known otherwise."""

_SHOWN = 100  # characters of a client's name for a model that an error repeats

Closeness = Callable[[RecogniserModel], int]
"""How far a model is from working: one of the six levels below, the closest first."""

READY, HERE, FAILED, COMING, PULLABLE, ABSENT = range(6)
"""It works; it is installed; it does not load; it is downloaded when it is needed; a download by
hand would bring it; packages are missing."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a name stands for: a ``model``, by its own name; None: whichever `AUTO` chooses.

    ``speakers``: the name asks for speakers to be told apart.
    """

    model: str | None
    speakers: bool = False


class Recognisers:
    """Names and aliases to models.

    ``default`` is what a request without a model gets, and so are OpenAI's names, which clients
    hard-code. ``aliases`` (alias to name) come first and may override any name. ``folders`` (name
    to folder) add models of the operator's own, and may do the same. ``automatic`` are the models
    that `AUTO` chooses from, the preferred one first.

    Raises:
        UnknownModel: ``default`` names none.
        ConfigurationError: an alias, a folder or an automatic model leads nowhere, or two of them
            contradict each other.
    """

    def __init__(
        self,
        default: str,
        aliases: Mapping[str, str] | None = None,
        folders: Mapping[str, str] | None = None,
        automatic: Sequence[str] = (),
    ) -> None:
        own = {name: _own(name, Path(folder)) for name, folder in (folders or {}).items()}
        self._own = tuple(own)
        self.models: Mapping[str, RecogniserModel] = ChainMap(own, dict(MODELS)) if own else MODELS
        self.aliases: Mapping[str, str] = dict(aliases or {})
        self._aliases = _folded("REFLECTOR_MODEL_ALIASES", self.aliases)
        self._spelled = {name.casefold(): name for name in MODELS}
        self._spelled |= _folded("REFLECTOR_MODEL_PATHS", {name: name for name in own})
        _check_apart(self.aliases, own)
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
        self._default = self._meaning(self._chain(default, "REFLECTOR_MODEL"), _closeness).model
        self.default = self.resolve(None, "en")

    @property
    def automatic(self) -> list[RecogniserModel]:
        """What `AUTO` chooses from."""
        return [self.models[name] for name in self._automatic]

    @property
    def configured(self) -> list[RecogniserModel]:
        """The default model, or all that `AUTO` may choose from."""
        return [self.default] if self._default else self.automatic

    @property
    def defaults(self) -> list[RecogniserModel]:
        """What of `configured` is here; if nothing is, the first of what a download would bring."""
        models = self.configured
        return [model for model in models if not model.missing] or [min(models, key=_closeness)]

    def needed(self, models: Sequence[RecogniserModel]) -> list[RecogniserModel]:
        """Those of ``models`` that may be chosen while all of them work.

        Others stand behind one that `AUTO` prefers and that does all they do: they wait for the
        day when that one fails, and need not be loaded before.
        """
        return [
            model
            for number, model in enumerate(models)
            if not any(_replaces(better.spec, model.spec) for better in models[:number])
        ]

    @property
    def names(self) -> tuple[str, ...]:
        """All that may be asked for by name, but OpenAI's other names and those of the hub."""
        own = [name for name in self.aliases if name != ANYTHING]
        auto = [AUTO] if self._has_auto else []
        return tuple(dict.fromkeys((*self.models, *own, *auto, names.OPENAI[0])))

    @property
    def chosen(self) -> Mapping[str, Iterable[str]]:
        """The operator's own names, by the settings that they stand in."""
        return {"REFLECTOR_MODEL_ALIASES": self.aliases, "REFLECTOR_MODEL_PATHS": self._own}

    def knows(self, name: str) -> bool:
        """Whether ``name`` means any model."""
        return self._known(self._chain(name, "")[-1]) is not None

    def meaning(self, name: str | None, closeness: Closeness | None = None) -> Meaning:
        """What a client means by ``name``.

        Raises:
            UnknownModel: nothing; the message lists the names that are known.
        """
        sent = (name or "").strip()
        chain = self._chain(sent or self._configured, "", otherwise=bool(sent))
        return self._meaning(chain, closeness or _closeness)

    def resolve(
        self,
        name: str | None,
        language: str | None = None,
        task: Task = "transcribe",
        closeness: Closeness | None = None,
        languages: Sequence[str] = (),
    ) -> RecogniserModel:
        """The model that a client means, who may have told the spoken ``language``, or some
        ``languages`` that may be spoken.

        Raises:
            UnknownModel: no such name; the message lists the known ones.
        """
        if (meant := self.meaning(name, closeness).model) is not None:
            return self.models[meant]
        told = languages if language is None else (language,)
        return self._route(told, task, closeness or _closeness)

    def caveat(self, model: RecogniserModel) -> str | None:
        """What to tell whoever lets ``model`` answer where no language is told; None: nothing.

        Of a model that was chosen for all requests, everything is known that there is to know.
        """
        if self._default or model.spec.detects:
            return None
        languages = sorted(model.spec.languages)
        taken = f"'{languages[0]}'" if len(languages) == 1 else f"one of {', '.join(languages)}"
        return (
            f"None of the automatic models that are here finds out which language is spoken: "
            f"where none is told, {model.name} takes it to be {taken}."
        )

    def _chain(self, name: str, setting: str, *, otherwise: bool = False) -> list[str]:
        """``name``, what it stands for, and so on; the last stands for itself, or is unknown.

        ``otherwise``: a name that is not known is what `ANYTHING` stands for.

        Raises:
            ConfigurationError: it leads to itself; ``setting`` is to blame.
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
        """Where a `_chain` leads."""
        if (target := self._known(passed[-1])) is None:
            near = suggestion(passed[-1], self.names)
            hint = f"Did you mean '{near}'? " if near else ""
            here = [name for name in self.names if self._is_installed(name, closeness)]
            others = [name for name in self.names if name not in here]
            raise UnknownModel(
                f"Model '{passed[-1][:_SHOWN]}' does not exist here. {hint}"
                f"Installed: {', '.join(here) or 'none'}. "
                f"Not installed: {', '.join(others) or 'none'}.",
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
        """What ``name`` stands for; None: for itself, or for nothing."""
        if (alias := self._aliases.get(name.casefold())) is not None and name != ANYTHING:
            return alias
        if self._known(name) is not None:
            return None
        if names.is_openai(name):
            return self._configured
        return self._published(name) or (self._aliases.get(ANYTHING) if otherwise else None)

    def _known(self, name: str) -> str | None:
        """A model's name as it is spelled, or `AUTO`; None if it is neither."""
        folded = name.casefold()
        spelled = self._spelled.get(folded, name)
        if spelled in self.models:
            return spelled
        return AUTO if folded == AUTO and self._has_auto else None

    def _published(self, name: str) -> str | None:
        """The model that the hub has under ``name``; of several forms of it one that is here."""
        wanted = names.essence(name)
        found = [
            model
            for model in MODELS.values()
            if model.weights
            and wanted in map(names.essence, (model.name, model.weights.repository))
        ]
        return min(found, key=_closeness).name if wanted and found else None

    def _route(self, languages: Sequence[str], task: Task, closeness: Closeness) -> RecogniserModel:
        """The model for a request that leaves the choice to us.

        If languages are told, the first that knows them all. Otherwise the first that finds out
        which one is spoken: what knows only English would write French down as English. Where none
        does and none can be had, whichever knows the most.
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

        Where all that work know nothing but English, they can translate: there is nothing to do.
        """
        models = self.automatic
        if task == "transcribe":
            return models
        able = [model for model in models if model.spec.translates]
        if any(closeness(m) <= COMING for m in models if m.spec.languages != {"en"}):
            return able or models
        return [m for m in models if m.spec.translates or m.spec.languages == {"en"}] or models

    def _check(self, variable: str, name: str) -> str:
        """Where ``name`` leads, which stands in the setting ``variable``."""
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


def _closeness(model: RecogniserModel) -> int:
    """As far as one can tell from the disk."""
    if not model.missing:
        return HERE
    return PULLABLE if model.downloadable else ABSENT


def _folded(variable: str, names: Mapping[str, str]) -> dict[str, str]:
    """``names`` without regard to case.

    Raises:
        ConfigurationError: one is empty, or two are the same then.
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
    """Raise `ConfigurationError` if an alias is named as a folder, or a folder as no model can."""
    taken = {name.casefold() for name in folders}
    if ANYTHING in taken:
        raise ConfigurationError("REFLECTOR_MODEL_PATHS: '*' can only be an alias.")
    for alias in aliases:
        if alias.casefold() in taken:
            raise ConfigurationError(
                f"REFLECTOR_MODEL_ALIASES: '{alias}' is also in REFLECTOR_MODEL_PATHS; choose one."
            )


def _own(name: str, folder: Path) -> RecogniserModel:
    """The model in an operator's folder; its files tell the family."""
    if (model := RECOGNISERS.local(name, folder)) is not None:
        return model
    raise ConfigurationError(
        f"REFLECTOR_MODEL_PATHS: '{folder}' ({name}) holds neither a CTranslate2 Whisper "
        "(model.bin, tokenizer.json) nor a Parakeet in onnx-asr's form (vocab.txt, config.json) "
        "nor what tells speakers apart (segmentation.onnx, embedding.onnx)."
    )
