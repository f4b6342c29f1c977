"""What can be deployed on its own: which models there are, and how a pool of one is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflector_gpu.engines.base import CompleterModel, CompleterSpec, Model
from reflector_gpu.engines.completion import generator
from reflector_gpu.engines.diarization.catalog import diarizer_of
from reflector_gpu.engines.translation.catalog import translator_of
from reflector_gpu.errors import UnknownModel
from reflector_gpu.runtime.pool import Pool
from reflector_gpu.service.catalogs import catalog_of
from reflector_gpu.service.worker_pools import WorkerPools
from reflector_gpu.settings import Settings


@dataclass(frozen=True, slots=True)
class Capability:
    """``find`` resolves a model's name, ``chosen`` are the settings of a server that uses it,
    ``method`` is the engine's, ``pool`` that of `WorkerPools`.

    ``reads_weights``: the server itself looks into the model's files, for its languages perhaps.
    ``streams``: the engine tells parts of its results ahead of them.
    ``recordings``: an item is a whole recording.
    """

    method: str
    find: Callable[[Settings, str], Model]
    chosen: Callable[[str], Mapping[str, object]]
    pool: Callable[[WorkerPools, Any], Pool[Any, Any]]
    reads_weights: bool = False
    streams: bool = False
    recordings: bool = False


def _recogniser(settings: Settings, name: str) -> Model:
    models = catalog_of(settings).models
    if name not in models:
        raise UnknownModel(f"There is no model '{name}'. Known: {', '.join(models)}.")
    return models[name]


def _diarizer(settings: Settings, name: str) -> Model:
    return diarizer_of(name, settings.model_paths)


def _translator(_: Settings, name: str) -> Model:
    return translator_of(name)


def _completer(settings: Settings, folder: str) -> Model:
    return generator.local(Path(folder), settings.llm_context) or CompleterModel(
        # The folder is where the model runs, and not where it is deployed from.
        Path(folder).name,
        f"{generator.__name__}:{generator.Generator.__name__}",
        CompleterSpec(max_batch=generator.MAX_BATCH, context=0, devices=("cpu", "cuda")),
        "A language model in a folder of its own",
        "see the folder",
        packages=generator.PACKAGES,
        extra="llm",
        arguments={"weights": folder, "context": str(settings.llm_context)},
    )


def _completes(folder: str) -> Mapping[str, object]:
    """Nothing where there is no model yet: that server says so to its clients."""
    if generator.local(Path(folder)) is None:
        return {}
    return {"llm_engine": "ctranslate2", "llm_model": folder}


CAPABILITIES: Mapping[str, Capability] = {
    "transcriber": Capability(
        "transcribe", _recogniser, lambda name: {"model": name}, WorkerPools.recogniser
    ),
    "diarizer": Capability(
        "diarize",
        _diarizer,
        lambda name: {"diarizer": name},
        WorkerPools.diarizer,
        recordings=True,
    ),
    "translator": Capability(
        "translate",
        _translator,
        lambda name: {"translator": (name,)},
        WorkerPools.translator,
        reads_weights=True,
    ),
    "llm": Capability(
        "complete",
        _completer,
        _completes,
        WorkerPools.completer,
        reads_weights=True,
        streams=True,
    ),
}
