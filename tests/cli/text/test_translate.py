"""``translate``, as it is typed."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.cli.conftest import Typed
from tests.cli.program import PROGRAM, environment, run
from tests.engines.tongues import TRANSLATION
from tests.waiting import PATIENCE_SECONDS

TINY = {"TRANSLATOR": str(TRANSLATION)}


def test_text_from_the_command_line() -> None:
    done = run("translate", "Hello everyone.", "--to", "es", env=environment(**TINY))
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hola a todos.\n", "")


def test_text_from_standard_input() -> None:
    done = subprocess.run(
        [PROGRAM, "translate", "--from", "fr", "--to", "en"],
        input="Merci.\n\nÀ demain.\n",
        env=environment(**TINY),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("Thank you.\n\nSee you tomorrow.\n", "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("hello", "--to", "tlh"), "'tlh', but to: af"), (("hello", "--from", "?"), "not a language")],
)
def test_an_unknown_language_is_refused(
    typed: Typed, arguments: tuple[str, ...], told: str
) -> None:
    done = typed("translate", *arguments, **TINY)
    assert done.status != 0
    assert told in done.err


def test_models_know_translators(typed: Typed) -> None:
    listed = json.loads(typed("models", "list", "--json", **TINY).out)
    records = {record["name"]: record for record in listed if record["type"] == "translator"}
    assert {"apertium", "m2m100", "nllb-200-600m", "translation-tiny"} <= set(records)
    assert records["translation-tiny"]["installed"]
    installed = shutil.which("apertium") is not None
    assert records["apertium"]["installed"] is installed
    assert ("apt-get" in records["apertium"]["installation"]) is not installed
