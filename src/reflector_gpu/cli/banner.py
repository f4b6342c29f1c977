"""What ``serve`` prints first: its address, its model, how accurate that is, and who may use it."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from reflector_gpu.cli.console import console, print_table
from reflector_gpu.cli.hints import here
from reflector_gpu.engines.recognition.resolution import Recognisers
from reflector_gpu.profiles import PROFILES
from reflector_gpu.service import Service
from reflector_gpu.settings import Settings
from reflector_gpu.version import __version__


def show(settings: Settings, service: Service, url: str, *, named_keys: bool = False) -> None:
    """Print the banner to standard error."""
    lines = Table.grid(padding=(0, 2))
    for name, text, style in _lines(settings, service, url, named_keys):
        lines.add_row(Text(f"  {name}", "dim"), Text(text, style))
    console(stderr=True).print(Text.assemble(("reflector-gpu", "bold"), f" {__version__}"))
    print_table(lines, stderr=True)


def _lines(
    settings: Settings, service: Service, url: str, named_keys: bool
) -> list[tuple[str, str, str]]:
    """The name, the text and the style of each line."""
    model = service.default
    everywhere = settings.host in ("0.0.0.0", "::")  # noqa: S104  compared, not listened on
    reach = ", and every other address of this machine" if everywhere else ""
    lines = [
        ("address", f"{url}{reach}", "bold"),
        ("docs", f"{url}/docs", ""),
        ("profile", settings.profile, ""),
        *([("model", f"{model.name}: {model.summary}", "")] if model else []),
    ]
    lines += [(name, here(text), "") for name, text in _accuracy(settings, service.recognisers)]
    lines.append(("key", *key_state(settings, named_keys=named_keys)))
    return lines


def _accuracy(settings: Settings, catalog: Recognisers) -> list[tuple[str, str]]:
    """How accurate the profile's model is, and what would be more accurate."""
    profile = PROFILES[settings.profile]
    chosen = profile.defaults.get("auto_models", settings.auto_models)
    if (settings.model, settings.auto_models) != (profile.defaults["model"], chosen):
        return []  # the operator has chosen other models
    preferred = catalog.configured[0]
    comes = {"weights"} if settings.auto_pull else set[str]()
    if set(preferred.missing) - comes:
        return [("for better", preferred.installation)]
    return [("accuracy", profile.accuracy), ("for better", profile.better)]


def key_state(settings: Settings, *, named_keys: bool = False) -> tuple[str, str]:
    """Who may use the server, and the style to say it in."""
    if named_keys or settings.keys:
        return _needed(settings, named_keys), "green"
    if settings.open_to_all:
        if settings.loopback:
            return (
                "none is set, and none is needed: only this machine can connect "
                "(REFLECTOR_APIKEY sets one)",
                "",
            )
        return "NONE IS NEEDED, and other machines can connect (--insecure)", "bold red"
    trusted = ", ".join(settings.trusted_networks)
    return f"none: callers from {trusted or 'nowhere'} need none, all others are refused", ""


def _needed(settings: Settings, named_keys: bool) -> str:
    keys = ["REFLECTOR_APIKEY"] if settings.keys else []
    keys += ["a key of `reflector-gpu keys`"] if named_keys else []
    trusted = ", ".join(settings.trusted_networks)
    needed = f"needed: clients send 'Authorization: Bearer <{' or '.join(keys)}>'"
    return f"{needed}, except from {trusted}" if trusted else needed
