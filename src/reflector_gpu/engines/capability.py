"""What engines can do: recognise, diarize, translate, complete.

A capability is a folder of this package. Its ``base`` says what its engines take and give, and its
`Catalog` which models there are; `engines.catalogs` lists the catalogs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from reflector_gpu.errors import ConfigurationError

if TYPE_CHECKING:
    from reflector_gpu.engines.base import AnyModel

M = TypeVar("M", bound="AnyModel", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """One thing that engines do, and how workers call them for it.

    ``kind`` is what users call a model that does it. ``method`` is the engine's batch method:
    ``method(items, options)`` gives one result or one error for each item, in order; a capability
    that ``streams`` gives it a `Progress` besides, to tell parts of a result before its end.
    ``whole_recordings``: an item is a recording of any length, and not a piece of one.
    ``reads_weights``: the server itself looks into a model's files, for its languages perhaps.
    """

    kind: str
    method: str
    streams: bool = False
    whole_recordings: bool = False
    reads_weights: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """What one call of an engine takes.

    ``max_items`` are its items, ``max_cost`` what they cost together once each is padded to the
    costliest (seconds of audio, characters, tokens: whatever the capability counts in). ``samples``
    are the float32 values of shared memory that they need. A call that takes longer than
    ``base_timeout + cost * timeout_per_cost`` seconds hangs.
    """

    max_items: int = 1
    max_cost: float = inf
    samples: int = 0
    base_timeout: float = 60.0
    timeout_per_cost: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog(Generic[M]):
    """The models of one capability, by name.

    ``setting`` is the field of `Settings` that names the one to use. ``aliases`` are other names of
    ``models``. ``local`` reads the model in a folder, under the name that its operator gave it;
    None: the folder holds something else. ``compose`` makes a model of a name that is not listed,
    such as ``opus-mt-en-fr``; None: it cannot. ``hint`` tells what names ``compose`` knows.
    """

    capability: Capability
    setting: str
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
        """All that have a name of their own: an operator's stand before ours."""
        return {**self.models, **self.own(folders)}

    def get(self, name: str, folders: Mapping[str, str]) -> M | None:
        """The model that ``name`` means; None: there is none."""
        known = self.known(folders)
        return known.get(name) or known.get(self.aliases.get(name, "")) or self.compose(name)

    def find(self, name: str, folders: Mapping[str, str]) -> M:
        """The model that an operator means by ``name``.

        Raises:
            ConfigurationError: there is none; the message lists those there are.
        """
        if (model := self.get(name, folders)) is None:
            known = ", ".join(self.known(folders))
            raise ConfigurationError(
                f"REFLECTOR_{self.setting.upper()}: '{name}' is none of {known}{self.hint}."
            )
        return model
