"""Speech inference: words with times, speakers, translations, completions.

Behind one HTTP API, on the command line, and in a Python program:

    from reflector_gpu import transcribe

    transcript = transcribe("meeting.mp3")
    for word in transcript.words:
        print(word.start, word.text)

What `__all__` names is public, and is loaded when it is first used.
"""

import importlib
import os
from typing import TYPE_CHECKING

from reflector_gpu.version import __version__

if TYPE_CHECKING:
    from reflector_gpu.errors import ReflectorError
    from reflector_gpu.pipeline.transcription import Part
    from reflector_gpu.settings import Settings, load_settings
    from reflector_gpu.transcriber import (
        Options,
        Recording,
        Transcriber,
        transcribe,
        transcribe_async,
        transcribe_parts,
    )
    from reflector_gpu.types import Segment, Transcript, Word

__all__ = [
    "Options",
    "Part",
    "Recording",
    "ReflectorError",
    "Segment",
    "Settings",
    "Transcriber",
    "Transcript",
    "Word",
    "__version__",
    "load_settings",
    "transcribe",
    "transcribe_async",
    "transcribe_parts",
]

# These libraries report their use to their makers unless these variables forbid it. They read the
# variables when they are first imported.
for _variable in ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "0")

_HOMES = {"ReflectorError": "errors", "Part": "pipeline.transcription"}
_HOMES |= dict.fromkeys(("Segment", "Transcript", "Word"), "types")
_HOMES |= dict.fromkeys(("Settings", "load_settings"), "settings")


def __getattr__(name: str) -> object:
    """A public name, from its own module: most of them need libraries that take a while to load."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"{__name__}.{_HOMES.get(name, 'transcriber')}")
    value: object = getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
