"""``translate``: text to another language, with a translator inside this command."""

from __future__ import annotations

import asyncio
import sys

from reflector_gpu.cli import interrupt, logs
from reflector_gpu.engines.weights import size
from reflector_gpu.service import Service
from reflector_gpu.settings import load_settings
from reflector_gpu.types import Priority


def run(text: str | None, source: str, target: str, *, profile: str | None) -> None:
    """Print the translation of ``text``, or of standard input.

    Weights that may be downloaded are, with a bar.

    Raises:
        ReflectorError: the settings, the languages or the translator do not work.
    """
    # Limits protect servers from their clients; this text is one's own.
    settings = load_settings(profile=profile, translate_characters=sys.maxsize, workers=1)
    given = text if text is not None else sys.stdin.read()
    logs.discard()
    interrupt.raises()
    translated = asyncio.run(_translated(Service(settings), given, source, target))
    sys.stdout.write(translated if translated.endswith("\n") else f"{translated}\n")


async def _translated(service: Service, text: str, source: str, target: str) -> str:
    for model in service.translations.models:
        if model.weights and service.may_download(model):
            megabytes = size(model.weights.megabytes)
            sys.stderr.write(f"Downloading {model.name}: {megabytes}, once\n")
            model.weights.pull(service.settings.weights_sources)
    try:
        found = await service.translations.translate([text], source, target, Priority.FILE)
    finally:
        await service.close()
    return found.texts[0]
