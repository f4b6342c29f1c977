"""``models``: what the service knows as it stands on this machine, and downloads for it."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from reflector_gpu.catalogs import catalog_of
from reflector_gpu.cli.console import console, print_json
from reflector_gpu.engines.base import DiarizerModel, Installable, Model
from reflector_gpu.engines.catalog import Catalog
from reflector_gpu.engines.ctranslate2_translation import opus
from reflector_gpu.engines.diarizers import ALIASES, DIARIZERS, own_diarizers
from reflector_gpu.engines.translation import TranslatorModel
from reflector_gpu.engines.translators import TRANSLATORS, translators_of
from reflector_gpu.engines.weights import size
from reflector_gpu.errors import UnknownModel
from reflector_gpu.settings import Settings, load_settings

_SHOWN_LANGUAGES = 4


def show(*, as_json: bool, **overrides: object) -> None:
    """Print a table of all models, or JSON."""
    settings = load_settings(**overrides)
    models = known(settings)
    defaults = catalog_of(settings).default.name, settings.diarizer, *settings.translator
    if as_json:
        print_json([_record(model, defaults) for model in models])
        return
    table = Table("Name", "Installed", "Size", "Languages", "Licence", "Summary", box=None)
    for column in table.columns[:-1]:
        column.no_wrap = True
    for model in models:
        missing = model.missing
        table.add_row(
            Text.assemble((model.name, "bold"), " (default)" if model.name in defaults else ""),
            Text(f"no: {_needs(model)}", "yellow") if missing else Text("yes", "green"),
            size(model.weights.megabytes) if model.weights else "",
            _languages(model),
            model.licence,
            Text(model.summary, no_wrap=True, overflow="ellipsis"),
        )
    out = console()
    out.print(table)
    if any(model.missing for model in models):
        out.print(
            "\nExtras: pip install 'reflector-gpu[NAME]'. Weights: reflector-gpu models pull NAME",
            style="dim",
            markup=False,
        )


def pull(names: Sequence[str]) -> None:
    """Download weights; print where they are.

    Raises:
        ModelNotInstalled: a package is missing; the message names the command.
        UnknownModel: one of ``names`` is none; nothing is downloaded then.
        ReflectorError: a download failed.
    """
    settings = load_settings()
    for model in named(names, settings):
        if set(model.missing) - {"weights"}:
            model.check_installed()  # the weights alone would not make it run
        if model.weights is None:
            sys.stderr.write(f"{model.name}: needs no download\n")
        else:
            sys.stdout.write(f"{model.weights.pull(settings.weights_sources)}\n")


def known(settings: Settings) -> list[Installable]:
    """Every recogniser, diarizer and translator that there is by name."""
    translators = {**TRANSLATORS, **{m.name: m for m in translators_of(settings.translator)}}
    return [
        *catalog_of(settings).models.values(),
        *_diarizers(settings).values(),
        *translators.values(),
    ]


def named(names: Sequence[str], settings: Settings) -> list[Installable]:
    """The models that ``names`` mean.

    Raises:
        UnknownModel: one of them is none.
    """
    catalog, diarizers = catalog_of(settings), _diarizers(settings)
    return [_named(name, catalog, diarizers) for name in names]


def _diarizers(settings: Settings) -> Mapping[str, DiarizerModel]:
    return {**DIARIZERS, **own_diarizers(settings.model_paths)}


def _named(name: str, catalog: Catalog, diarizers: Mapping[str, DiarizerModel]) -> Installable:
    diarizer = diarizers.get(name) or diarizers.get(ALIASES.get(name, name))
    if diarizer and not catalog.knows(name):
        return diarizer
    if not catalog.knows(name) and (translator := TRANSLATORS.get(name) or opus(name)):
        return translator
    if not catalog.knows(name):
        known = [*catalog.models.values(), *diarizers.values(), *TRANSLATORS.values()]
        downloadable = ", ".join(model.name for model in known if model.weights)
        raise UnknownModel(f"'{name}' does not exist. What can be downloaded: {downloadable}.")
    return catalog.resolve(name)


def _record(model: Installable, defaults: Collection[str]) -> dict[str, object]:
    return {
        "name": model.name,
        "type": _type(model),
        "default": model.name in defaults,
        "installed": not model.missing,
        "missing": list(model.missing),
        "installation": model.installation,
        "megabytes": model.weights.megabytes if model.weights else None,
        "folder": _folder(model),
        "languages": sorted(model.spec.languages) if isinstance(model, Model) else [],
        "licence": model.licence,
        "summary": model.summary,
    }


def _type(model: Installable) -> str:
    if isinstance(model, TranslatorModel):
        return "translator"
    return "recogniser" if isinstance(model, Model) else "diarizer"


def _needs(model: Installable) -> str:
    packages = [name for name in model.missing if name != "weights"]
    needs = [f"extra {model.extra}" if model.extra else " ".join(packages)] if packages else []
    if "weights" in model.missing:
        needs.append("weights")
    return ", ".join(needs)


def _folder(model: Installable) -> str | None:
    """Where its files are, if they are here and not in a package."""
    if model.weights and model.weights.folder:
        return str(model.weights.folder)
    return model.arguments.get("weights")


def _languages(model: Installable) -> str:
    if isinstance(model, TranslatorModel):
        return "translates"
    if not isinstance(model, Model):
        return "tells speakers"
    codes = sorted(model.spec.languages)
    return " ".join(codes) if len(codes) <= _SHOWN_LANGUAGES else f"{len(codes)} languages"
