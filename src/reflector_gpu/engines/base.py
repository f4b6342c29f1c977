"""Models by name: what each needs to run on this machine, and the engine that runs it.

The ``base`` of each capability's folder says what its engines take and give.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Self, TypeAlias, TypeVar

from reflector_gpu.engines.capability import Batching, Capability
from reflector_gpu.engines.weights import Weights
from reflector_gpu.errors import ModelNotInstalled

Item = TypeVar("Item", covariant=True)
Result = TypeVar("Result", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """What the service must know about an engine before it is loaded.

    ``single_threaded`` means that the engine uses one core, so that a process for each core makes
    it faster. ``quick_restart`` means that loading takes about a second, so that a batch nobody
    waits for any more is ended by replacing its process. ``devices`` are those that the engine runs
    on; if there are several, it takes the argument ``device``. ``compute_types`` means that it
    takes the argument ``compute_type``. ``prepares`` means that it can prepare a batch for a GPU
    while another is in work there, as `runtime.preparing.Preparing` says. ``languages`` are the
    model's own codes of the languages that it recognises; empty if it recognises no speech.
    """

    single_threaded: bool = False
    quick_restart: bool = False
    devices: tuple[str, ...] = ("cpu",)
    compute_types: bool = False
    prepares: bool = False
    languages: frozenset[str] = frozenset()

    @property
    def batching(self) -> Batching:
        """What one call of the engine takes."""
        return Batching()

    def on_cpu(self, threads: int) -> Self:
        """This specification for workers that all run on CPUs, with ``threads`` each."""
        return self


@dataclass(frozen=True, slots=True)
class Model(Generic[Item, Result]):
    """A model by name. Its engine takes an ``Item`` and gives a ``Result``.

    ``engine`` is a ``module:Class``, which is built with ``arguments``. ``extra`` is the extra of
    this package that installs ``packages``. ``programs`` must be on the PATH; each has the command
    that installs it. ``weights`` are on the hub. Their folder becomes the engine's argument
    ``weights``, and several folders are joined as in ``PATH``.
    """

    capability: ClassVar[Capability]
    name: str
    engine: str
    spec: EngineSpec
    summary: str
    licence: str
    packages: tuple[str, ...] = ()
    extra: str | None = None
    weights: Weights | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> tuple[str, ...]:
        """What this machine lacks: names of packages and programs, or ``weights``."""
        packages = (name for name in self.packages if not _is_installed(name))
        programs = (name for name in self.programs if shutil.which(name) is None)
        return (*packages, *programs, *(("weights",) if self._lacks_weights else ()))

    @property
    def downloadable(self) -> bool:
        """Whether it lacks nothing but weights that can be downloaded."""
        return self.missing == ("weights",)

    @property
    def _lacks_weights(self) -> bool:
        return (
            self.weights is not None
            and "weights" not in self.arguments
            and self.weights.folder is None
        )

    @property
    def trained(self) -> bool:
        """Whether there are weights to load, from the hub or from a folder."""
        return self.weights is not None or "weights" in self.arguments

    @property
    def installation(self) -> str:
        """The shell command that installs what is missing; empty if nothing is."""
        missing = self.missing
        packages = [name for name in missing if name in self.packages]
        what = f"'reflector-gpu[{self.extra}]'" if self.extra else " ".join(packages)
        commands = [f"pip install {what}"] if packages else []
        commands += [self.programs[name] for name in missing if name in self.programs]
        if "weights" in missing:
            commands.append(f"reflector-gpu models pull {self.name}")
        return " && ".join(commands)

    def check_installed(self) -> None:
        """Raise `ModelNotInstalled`, with the command that installs it, if anything is missing."""
        if self.missing:
            raise ModelNotInstalled(
                f"Model '{self.name}' is known but not installed here. Choose another, or have it "
                f"installed where the server runs: {self.installation}",
                param="model",
            )


AnyModel: TypeAlias = Model[object, object]
"""A model of any capability."""


@contextmanager
def needs_extra(what: str, extra: str) -> Iterator[None]:
    """The context of imports of an optional library, which says how to install it if they fail.

    Raises:
        ModelNotInstalled: ``what`` (a plural) needs the ``extra`` of this package.
    """
    try:
        yield
    except ImportError as error:
        raise ModelNotInstalled(
            f"{what} need the extra '{extra}': pip install 'reflector-gpu[{extra}]'"
        ) from error


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # the package that contains it is not installed either
        return False
