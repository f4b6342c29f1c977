"""``models``: the catalog as it stands on this machine, and downloads for it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from reflector_gpu.cli.console import console, print_json
from reflector_gpu.engines.base import Model
from reflector_gpu.engines.weights import size
from reflector_gpu.service import catalog_of
from reflector_gpu.settings import load_settings

_SHOWN_LANGUAGES = 4


def show(*, as_json: bool, **overrides: object) -> None:
    """Print a table of all models, or JSON."""
    settings = load_settings(**overrides)
    catalog = catalog_of(settings)
    models, default = catalog.models.values(), catalog.default
    if as_json:
        print_json([_record(model, default) for model in models])
        return
    table = Table("Name", "Installed", "Size", "Languages", "Licence", "Summary", box=None)
    for column in table.columns[:-1]:
        column.no_wrap = True
    for model in models:
        missing = model.missing
        table.add_row(
            Text.assemble((model.name, "bold"), " (default)" if model is default else ""),
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
    catalog = catalog_of(settings)
    for model in [catalog.resolve(name) for name in names]:
        if set(model.missing) - {"weights"}:
            model.check_installed()  # the weights alone would not make it run
        if model.weights is None:
            sys.stderr.write(f"{model.name}: needs no download\n")
        else:
            sys.stdout.write(f"{model.weights.pull()}\n")


def _record(model: Model, default: Model) -> dict[str, object]:
    return {
        "name": model.name,
        "default": model is default,
        "installed": not model.missing,
        "missing": list(model.missing),
        "installation": model.installation,
        "megabytes": model.weights.megabytes if model.weights else None,
        "folder": _folder(model),
        "languages": sorted(model.spec.languages),
        "licence": model.licence,
        "summary": model.summary,
    }


def _needs(model: Model) -> str:
    packages = [name for name in model.missing if name != "weights"]
    needs = [f"extra {model.extra}" if model.extra else " ".join(packages)] if packages else []
    if "weights" in model.missing:
        needs.append("weights")
    return ", ".join(needs)


def _folder(model: Model) -> str | None:
    """Where its files are, if they are here and not in a package."""
    if model.weights and model.weights.folder:
        return str(model.weights.folder)
    return model.arguments.get("weights")


def _languages(model: Model) -> str:
    codes = sorted(model.spec.languages)
    return " ".join(codes) if len(codes) <= _SHOWN_LANGUAGES else f"{len(codes)} languages"
