"""Apertium: translation by rules and dictionaries, with the pairs that are installed.

It is a separate program (GPL) on the PATH. Reading its dictionaries takes longer than translating
most texts, so a process for the last pair waits with dictionaries read. A process ends with its
batch, because one for several would have to flush after each, which ``lt-proc -b`` of lttoolbox 3.7
does not.
"""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache

from reflector_gpu.engines.translation.base import Directions, TranslatorModel, TranslatorSpec
from reflector_gpu.errors import EngineFailed, ModelNotInstalled, ReflectorError
from reflector_gpu.types import TranslateOptions

_PROGRAM = "apertium"
_INSTALLATION = (
    "sudo apt-get install apertium apertium-eng-spa apertium-eng-cat"
    "  # English with Spanish and Catalan; `apt-cache search ^apertium-` lists the other pairs."
    " For French, and 100 languages, set REFLECTOR_TRANSLATOR=m2m100 and install it:"
    " pip install 'reflector-gpu[translation]' && reflector-gpu models pull m2m100"
)
_LIST_SECONDS = 10.0


def directions(_: Mapping[str, str]) -> Directions:
    """The pairs that are installed.

    Raises:
        ModelNotInstalled: there are none. The message says how to install them.
    """
    return _installed()


@lru_cache(1)
def _installed() -> Directions:
    try:
        listed = subprocess.run(  # noqa: S603
            [_PROGRAM, "-l"], capture_output=True, check=True, text=True, timeout=_LIST_SECONDS
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ModelNotInstalled(
            f"Apertium does not list its languages here: {_INSTALLATION}", param="model"
        ) from error
    found = defaultdict(list)
    for mode in listed.split():
        source, dash, target = mode.partition("-")
        if dash:
            found[source].append(target)
    if not found:
        raise ModelNotInstalled(f"Apertium has no languages here: {_INSTALLATION}", param="model")
    return Directions(found)


SPEC = TranslatorSpec(
    max_batch=500,
    max_batch_characters=50_000,
    max_characters=5_000,
    single_threaded=True,
    quick_restart=True,
)

MODELS = (
    TranslatorModel(
        "apertium",
        "reflector_gpu.engines.translation.apertium:ApertiumTranslator",
        SPEC,
        "Rules and dictionaries, by the pairs that are installed: fair between close languages",
        "GPL-2+",
        programs={_PROGRAM: _INSTALLATION},
        read=directions,
    ),
)


class ApertiumTranslator:
    def __init__(self) -> None:
        self._ahead: tuple[str, subprocess.Popen[str]] | None = None

    def load(self) -> None:
        """Nothing to load before a pair is known."""

    def translate(
        self, texts: Sequence[str], options: TranslateOptions
    ) -> Sequence[str | ReflectorError]:
        """Translate ``texts``, as `Translator` says. Words that are in no dictionary stay.

        Raises:
            EngineFailed: the program failed.
        """
        pair = f"{options.source}-{options.target}"
        # It keeps lines apart, and a zero byte would end the text.
        lines = [" ".join(text.replace("\0", " ").split()) for text in texts]
        # It removes one full stop at the end of a line, which it takes for its own.
        given = [f"{line}." if line.endswith(".") else line for line in lines]
        process = self._process(pair)
        self._ahead = None
        translated, complaint = process.communicate("".join(f"{line}\n" for line in given))
        results = [" ".join(line.split()) for line in translated.removesuffix("\n").split("\n")]
        if process.returncode or len(results) != len(lines):
            raise EngineFailed(f"Apertium failed on {len(lines)} lines of {pair}: {complaint}")
        with suppress(OSError):  # no memory: the next batch tries again
            self._ahead = (pair, _started(pair))
        return results

    def close(self) -> None:
        if self._ahead:
            self._ahead[1].communicate("")
            self._ahead = None

    def _process(self, pair: str) -> subprocess.Popen[str]:
        if self._ahead and self._ahead[0] == pair and self._ahead[1].poll() is None:
            return self._ahead[1]
        self.close()
        return _started(pair)


def _started(pair: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603
        [_PROGRAM, "-u", "-f", "line", pair],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
