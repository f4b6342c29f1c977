"""``translate``: prints a translation, made by this command."""

from __future__ import annotations

import asyncio
import sys

from reflector_gpu import logs
from reflector_gpu.cli import interrupt
from reflector_gpu.cli.downloads import download
from reflector_gpu.service import Service
from reflector_gpu.settings import load_settings
from reflector_gpu.types import Priority


def run(text: str | None, source: str, target: str, *, profile: str | None) -> None:
    """Print the translation of ``text``, or of standard input.

    Weights are downloaded if that is allowed.

    Raises:
        ReflectorError: the settings, the languages or the translator do not work.
    """
    # Limits protect a server from its clients, and this text is the user's own.
    settings = load_settings(profile=profile, translate_characters=sys.maxsize, workers=1)
    given = text if text is not None else sys.stdin.read()
    logs.discard()
    interrupt.raise_error()
    translated = asyncio.run(_translated(Service(settings), given, source, target))
    sys.stdout.write(translated if translated.endswith("\n") else f"{translated}\n")


async def _translated(service: Service, text: str, source: str, target: str) -> str:
    for model in service.translations.models:
        if service.may_download(model):
            download(model, service.settings)
    try:
        found = await service.translations.translate([text], source, target, Priority.FILE)
    finally:
        await service.close()
    return found.texts[0]
