"""Every model the service knows by name.

Reading the catalog imports no engine library: models stand beside their engine classes, and those
import their libraries only in `load`.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from reflector_gpu.engines import parakeet, scripted, sphinx, whisper
from reflector_gpu.engines.base import Model
from reflector_gpu.errors import ConfigurationError, UnknownModel
from reflector_gpu.languages import match_spoken
from reflector_gpu.types import Task

MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (*sphinx.MODELS, *whisper.MODELS, *parakeet.MODELS, *scripted.MODELS)
}

AUTO = "auto"
"""The name that stands for whichever of several models suits a request."""

_SHOWN = 100  # characters of a client's name for a model that an error repeats

_LOCAL = (whisper.local, parakeet.local)


class Catalog:
    """Names and aliases to models.

    ``default`` is what a request without a model gets, and so is ``whisper-1``, which OpenAI
    clients hard-code. ``aliases`` (alias to name) come first and may override any name.
    ``folders`` (name to folder) add models of the operator's own. ``automatic`` are the models
    that ``auto`` chooses from, the preferred one first.

    Raises:
        UnknownModel: ``default`` names none.
        ConfigurationError: an alias, a folder or an automatic model leads nowhere.
    """

    def __init__(
        self,
        default: str,
        aliases: Mapping[str, str] | None = None,
        folders: Mapping[str, str] | None = None,
        automatic: Sequence[str] = (),
    ) -> None:
        own = {name: _own(name, Path(folder)) for name, folder in (folders or {}).items()}
        self.models: Mapping[str, Model] = ChainMap(own, dict(MODELS)) if own else MODELS
        self._aliases = dict(aliases or {})
        self._check("REFLECTOR_AUTO_MODELS", automatic)
        self._check("REFLECTOR_MODEL_ALIASES", self._aliases.values(), AUTO)
        self._automatic = automatic
        self._default = self._aliases.get(default, default)
        self._aliases.setdefault("whisper-1", self._default)
        self.default = self.resolve(None, "en")

    @property
    def configured(self) -> list[Model]:
        """The default model, or all that ``auto`` may choose from."""
        if self._default != AUTO:
            return [self.default]
        return [self.models[name] for name in self._automatic]

    @property
    def defaults(self) -> list[Model]:
        """What of `configured` is here; if nothing is, the first of what a download would bring."""
        models = self.configured
        return [model for model in models if not model.missing] or [min(models, key=_distance)]

    def resolve(
        self, name: str | None, language: str | None = None, task: Task = "transcribe"
    ) -> Model:
        """The model that a client means.

        Raises:
            UnknownModel: no such name; the message lists the known ones.
        """
        target = self._aliases.get(name, name) if name else self._default
        if target == AUTO and self._automatic:
            return self._route(language, task)
        if target not in self.models:
            raise UnknownModel(
                f"Model '{target[:_SHOWN]}' does not exist here. "
                f"Known models: {', '.join(self.names)}.",
                param="model",
            )
        return self.models[target]

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.models, *(name for name in self._aliases if name not in self.models))

    def _route(self, language: str | None, task: Task) -> Model:
        """The first that knows the language; without one, whichever knows the most."""
        models = [self.models[name] for name in self._automatic]
        broadest = max(models, key=lambda model: len(model.spec.languages))
        fitting = [
            model
            for model in models
            if language
            and match_spoken(language, model.spec.languages)
            and (task == "transcribe" or model.spec.translates)
        ]
        return min([*fitting, broadest], key=_distance)

    def _check(self, variable: str, names: Iterable[str], *also: str) -> None:
        for name in names:
            if name not in self.models and name not in also:
                raise ConfigurationError(
                    f"{variable}: '{name}' is none of {', '.join((*self.models, *also))}."
                )


def _distance(model: Model) -> int:
    """How far ``model`` is from working here."""
    if not model.missing:
        return 0
    return 1 if model.downloadable else 2


def _own(name: str, folder: Path) -> Model:
    """The model in an operator's folder; its files tell the family."""
    for local in _LOCAL:
        if (model := local(name, folder)) is not None:
            return model
    raise ConfigurationError(
        f"REFLECTOR_MODEL_PATHS: '{folder}' ({name}) holds neither a CTranslate2 Whisper "
        "(model.bin, tokenizer.json) nor a Parakeet in onnx-asr's form (vocab.txt, config.json) "
        "nor what tells speakers apart (segmentation.onnx, embedding.onnx)."
    )


__all__ = ["AUTO", "MODELS", "Catalog", "Model"]
