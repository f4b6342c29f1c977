"""What CONTRIBUTING.md tells a newcomer is true."""

from __future__ import annotations

import importlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

import reflector_gpu
from reflector_gpu.engines.recognition import catalog
from reflector_gpu.engines.recognition.base import RecogniserModel
from tests.conftest import ROOT, SAMPLES
from tests.live import LiveServer

PACKAGE = Path(reflector_gpu.__file__).parent
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
[ENGINE] = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)

TO_WRITE = "counting"
"""The engine of the guide, whose files are not here."""


def test_the_engine_of_the_guide_answers_over_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "counting.py").write_text(ENGINE)
    monkeypatch.syspath_prepend(tmp_path)
    [written] = importlib.import_module("counting").MODELS
    assert isinstance(written, RecogniserModel)
    package = catalog.__name__.rpartition(".")[0]
    assert written.engine == f"{package}.counting:CountingRecogniser"
    model = replace(written, engine="counting:CountingRecogniser")
    monkeypatch.setitem(catalog.MODELS, model.name, model)
    with LiveServer(model=model.name, workers=1) as server, server.openai() as client:
        with (SAMPLES / "jfk.flac").open("rb") as audio:
            heard = client.audio.transcriptions.create(model=model.name, file=audio)
        assert heard.text.split()
        assert all(float(word) > 0 for word in heard.text.split())
        assert model.name in [listed.id for listed in client.models.list()]


def test_every_file_that_the_guide_names_exists() -> None:
    names = re.findall(r"`([\w.]+/[\w./]+)`", GUIDE)
    assert "tests/live.py" in names
    for name in names:
        if TO_WRITE not in name:
            assert any((root / name).exists() for root in (ROOT, PACKAGE)), name


def test_every_room_that_the_guide_names_exists() -> None:
    for room in re.findall(r"ROOM=([\w./]*\w)", GUIDE):
        assert (ROOT / "tests" / room).exists(), room
