"""Every model the service knows by name.

Reading the catalog imports no engine library: models stand beside their engine classes, and those
import their libraries only in `load`.
"""

from __future__ import annotations

from collections.abc import Mapping

from reflector_gpu.engines import parakeet, scripted, sphinx, whisper
from reflector_gpu.engines.base import Model
from reflector_gpu.errors import ConfigurationError, UnknownModel

MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (*sphinx.MODELS, *whisper.MODELS, *parakeet.MODELS, *scripted.MODELS)
}


class Catalog:
    """Names and aliases to models.

    ``default`` is what a request without a model gets, and so is ``whisper-1``, which OpenAI
    clients hard-code. ``aliases`` (alias to model name) come first and may override any name.
    """

    def __init__(self, default: str, aliases: Mapping[str, str] | None = None) -> None:
        self._aliases = dict(aliases or {})
        self.default = self.resolve(default)
        self._aliases.setdefault("whisper-1", self.default.name)
        for alias, target in self._aliases.items():
            if target not in MODELS:
                raise ConfigurationError(
                    f"REFLECTOR_MODEL_ALIASES: '{alias}' stands for '{target}', "
                    f"which is none of {', '.join(MODELS)}."
                )

    def resolve(self, name: str | None) -> Model:
        """The model that a client means.

        Raises:
            UnknownModel: no such name; the message lists the known ones.
        """
        if not name:
            return self.default
        target = self._aliases.get(name, name)
        if target not in MODELS:
            raise UnknownModel(
                f"Model '{name}' does not exist here. Known models: {', '.join(self.names)}.",
                param="model",
            )
        return MODELS[target]

    @property
    def names(self) -> tuple[str, ...]:
        return (*MODELS, *(name for name in self._aliases if name not in MODELS))


__all__ = ["MODELS", "Catalog", "Model"]
