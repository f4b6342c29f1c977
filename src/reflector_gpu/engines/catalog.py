"""Which models of one capability there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from reflector_gpu.engines.base import AnyModel
from reflector_gpu.engines.capability import Capability
from reflector_gpu.errors import ConfigurationError
from reflector_gpu.settings import Settings

M = TypeVar("M", bound=AnyModel, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog(Generic[M]):
    """The models of one capability, by name.

    ``setting`` is the field of `Settings` that names the models to use, if there is one.
    ``aliases`` are other names of ``models``. ``local`` reads the model in an operator's folder,
    under the operator's name for it, and returns None if the folder holds none. ``compose`` makes a
    model of a name that is not listed, such as ``opus-mt-en-fr``, or returns None. ``hint`` says
    which names ``compose`` knows.
    """

    capability: Capability
    setting: str = ""
    models: Mapping[str, M] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    local: Callable[[str, Path], M | None] = lambda _name, _folder: None
    compose: Callable[[str], M | None] = lambda _: None
    hint: str = ""

    def own(self, folders: Mapping[str, str]) -> dict[str, M]:
        """The models in an operator's ``folders`` (name to folder), which may hold others too."""
        found = ((name, self.local(name, Path(folder))) for name, folder in folders.items())
        return {name: model for name, model in found if model is not None}

    def known(self, folders: Mapping[str, str]) -> dict[str, M]:
        """All models by name; an operator's model replaces ours of the same name."""
        return {**self.models, **self.own(folders)}

    def configured(self, settings: Settings) -> list[M]:
        """The models that ``settings`` name, or all that are known where no setting names one.

        Raises:
            ConfigurationError: a name means none.
        """
        if not self.setting:
            return list(self.known(settings.model_paths).values())
        named: str | tuple[str, ...] = getattr(settings, self.setting)
        names = (named,) if isinstance(named, str) else named
        return [self.find(name, settings.model_paths) for name in names]

    def get(self, name: str, folders: Mapping[str, str]) -> M | None:
        """The model that ``name`` means, if there is one."""
        known = self.known(folders)
        return known.get(name) or known.get(self.aliases.get(name, "")) or self.compose(name)

    def find(self, name: str, folders: Mapping[str, str]) -> M:
        """The model that an operator means by ``name``.

        Raises:
            ConfigurationError: there is none; the message lists what there is.
        """
        if (model := self.get(name, folders)) is None:
            known = ", ".join(self.known(folders))
            raise ConfigurationError(
                f"REFLECTOR_{self.setting.upper()}: '{name}' is none of {known}{self.hint}."
            )
        return model
