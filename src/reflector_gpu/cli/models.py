"""``models``: lists and describes the models, and downloads and deletes their weights."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from reflector_gpu.cli.console import agreed, console, print_json, print_table
from reflector_gpu.cli.hints import here
from reflector_gpu.cli.inventory import (
    Inventory,
    folder,
    languages,
    megabytes,
    state,
)
from reflector_gpu.engines.base import AnyModel
from reflector_gpu.engines.recognition.resolution import AUTO
from reflector_gpu.engines.weights import size
from reflector_gpu.engines.weights.removal import occupied, parts, remove
from reflector_gpu.errors import InvalidRequest
from reflector_gpu.settings import load_settings

_SHOWN_LANGUAGES = 2
_ROOM_FOR_ALL = 140  # columns; a narrower terminal shows the most important ones
_CONFIGURED = " *"
_LABEL = 11  # columns
_PASTED = ("folder", "install")  # never broken into lines


def show_all(*, as_json: bool, **overrides: object) -> None:
    """Print a table of all models, or JSON."""
    inventory = Inventory.of(load_settings(**overrides))
    if as_json:
        print_json([_record(model, inventory) for model in inventory.models])
        return
    for kind in inventory.kinds:
        print_table(_table(kind, inventory))
        sys.stdout.write("\n")
    if inventory.aliases:
        print_table(_aliases(inventory))
        sys.stdout.write("\n")
    more = here("reflector-gpu models show NAME")
    sys.stdout.write(f"* is configured. More about one, and how to install it:\n  {more}\n")


def show(name: str, *, as_json: bool, **overrides: object) -> None:
    """Print everything that is known about one model.

    Raises:
        UnknownModel
    """
    inventory = Inventory.of(load_settings(**overrides))
    model = inventory.find(name)
    if as_json:
        print_json(_record(model, inventory))
        return
    facts = [(label, text) for label, text in _facts(model, inventory) if text]
    width = console().width - _LABEL if sys.stdout.isatty() else sys.maxsize
    for label, text in facts:
        lines = [text] if label in _PASTED else textwrap.wrap(text, width)
        sys.stdout.write(f"{label:{_LABEL}}" + f"\n{'':{_LABEL}}".join(lines) + "\n")


def pull(names: Sequence[str]) -> None:
    """Download weights; print where they are.

    Raises:
        ModelNotInstalled: a package is missing; the message has the command that installs it.
        UnknownModel: one of ``names`` is no model. Nothing is downloaded then.
        ReflectorError: a download failed.
    """
    settings = load_settings()
    inventory = Inventory.of(settings)
    for model in [inventory.find(name) for name in names]:
        if set(model.missing) - {"weights"}:
            model.check_installed()  # the weights alone would not make it run
        if model.weights is None:
            sys.stderr.write(f"{model.name}: needs no download\n")
        else:
            sys.stdout.write(f"{model.weights.pull(settings.weights_sources)}\n")


def delete(names: Sequence[str], *, sure: bool) -> None:
    """Delete downloaded weights, and print how much room that made.

    Raises:
        UnknownModel: one of ``names`` is no model. Nothing is deleted then.
        InvalidRequest: a model is in a folder of the user's own, or there is nobody to ask.
    """
    inventory = Inventory.of(load_settings())
    models = [inventory.find(name) for name in names]
    for model in models:
        _check_downloaded(model)
    for model in models:
        if model.weights is None or not occupied(model.weights):
            sys.stderr.write(f"{model.name}: nothing of it is downloaded\n")
            continue
        if not sure and not agreed(f"Delete {model.name} from {model.weights.cached.path}?"):
            sys.stderr.write(f"{model.name}: kept\n")
            continue
        others = [one.weights for one in inventory.sharing(model) if one.weights]
        freed = remove(model.weights, others)
        sys.stdout.write(f"{model.name}: deleted, {size(freed)} freed\n")


def _check_downloaded(model: AnyModel) -> None:
    if own := model.arguments.get("weights"):
        raise InvalidRequest(
            f"'{model.name}' is in a folder of your own, {own}: delete that yourself."
        )


def _table(kind: str, inventory: Inventory) -> Table:
    models = list(inventory.by_kind[kind].values())
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    longest = max(len(model.name) for model in models) + len(_CONFIGURED)
    table.add_column(f"{kind.capitalize()}s", no_wrap=True, min_width=longest)
    table.add_column("Size", no_wrap=True, min_width=len("10.0 GB"), justify="right")
    table.add_column("State")
    table.add_column("Languages" if kind == "recogniser" else "")
    if console().width >= _ROOM_FOR_ALL:
        table.add_column("Licence", no_wrap=True)
        table.add_column("What it is", no_wrap=True, overflow="ellipsis")
    for model in models:
        table.add_row(*_row(model, inventory)[: len(table.columns)])
    return table


def _aliases(inventory: Inventory) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("Aliases", "Mean", "State"):
        table.add_column(heading, no_wrap=True)
    for alias, model in inventory.aliases.items():
        how = _state(model) if model else ""
        table.add_row(Text(alias, "bold"), model.name if model else AUTO, how)
    return table


def _state(model: AnyModel) -> Text:
    how = state(model)
    return Text(how, "green" if how == "installed" else "yellow")


def _row(model: AnyModel, inventory: Inventory) -> list[str | Text]:
    codes = languages(model)
    few = len(codes) <= _SHOWN_LANGUAGES
    return [
        Text.assemble(
            (model.name, "bold"), _CONFIGURED if model.name in inventory.defaults else ""
        ),
        megabytes(model),
        _state(model),
        " ".join(codes) if few else f"{len(codes)} languages",
        model.licence,
        model.summary,
    ]


def _facts(model: AnyModel, inventory: Inventory) -> list[tuple[str, str]]:
    configured = ", the configured one" if model.name in inventory.defaults else ""
    aliases = [alias for alias, meant in inventory.aliases.items() if meant == model]
    facts = [
        ("name", model.name),
        ("aliases", ", ".join(aliases)),
        ("kind", f"{model.capability.kind}{configured}"),
        ("summary", model.summary),
        ("languages", ", ".join(languages(model))),
        ("licence", model.licence),
        ("devices", ", ".join(model.spec.devices)),
        ("size", megabytes(model)),
    ]
    facts += [
        ("files", f"{', '.join(part.patterns)} of https://huggingface.co/{part.repository}")
        for part in (parts(model.weights) if model.weights else ())
    ]
    facts += [
        ("folder", folder(model) or ""),
        ("state", state(model)),
        ("missing", ", ".join(model.missing)),
        ("install", here(model.installation)),
    ]
    return facts


def _record(model: AnyModel, inventory: Inventory) -> dict[str, object]:
    return {
        "name": model.name,
        "type": model.capability.kind,
        "default": model.name in inventory.defaults,
        "aliases": [alias for alias, meant in inventory.aliases.items() if meant == model],
        "installed": not model.missing,
        "state": state(model),
        "missing": list(model.missing),
        "installation": here(model.installation),
        "megabytes": model.weights.megabytes if model.weights else None,
        "repositories": [part.repository for part in parts(model.weights)] if model.weights else [],
        "folder": folder(model),
        "languages": languages(model),
        "devices": list(model.spec.devices),
        "licence": model.licence,
        "summary": model.summary,
    }
