"""Smart Turn: its features, and the network itself where its weights are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from reflector_gpu.audio.decode import decode
from reflector_gpu.audio.spool import Spool
from reflector_gpu.cli.inventory import Inventory
from reflector_gpu.engines.endpointing.smart_turn import MODEL, SmartTurn, features
from reflector_gpu.errors import ModelNotInstalled, ReflectorError
from reflector_gpu.settings import load_settings
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.conftest import ORDINARY_CACHE, SAMPLES
from tests.engines import endpointers


def tone(hertz: float, seconds: float) -> Samples:
    at = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.3 * np.sin(2 * np.pi * hertz * at)).astype(np.float32)


def noise(seconds: float) -> Samples:
    dice = np.random.default_rng(3)
    return dice.normal(0, 0.1, int(seconds * SAMPLE_RATE)).astype(np.float32)


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * SAMPLE_RATE), np.float32)


def probabilities(engine: SmartTurn, turns: Sequence[Samples]) -> list[float]:
    found = engine.endpoints(turns, None)
    assert not any(isinstance(one, ReflectorError) for one in found)
    return [float(one) for one in found if isinstance(one, float)]


@pytest.mark.parametrize("seconds", [0.0, 0.5, 8.0, 20.0])
def test_features_are_of_eight_seconds(seconds: float) -> None:
    found = features(tone(440, seconds))
    assert found.shape == (80, 800)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert found.max() - found.min() <= 2.0 + 1e-5


def test_short_audio_is_at_the_end() -> None:
    found = features(tone(1000, 2)).max(axis=0)
    assert found[:590].max() < found[610:].min()


def test_only_the_last_eight_seconds_are_heard() -> None:
    last = tone(440, 8)
    assert np.array_equal(features(np.concatenate([tone(3000, 5), last])), features(last))


@pytest.mark.parametrize(("hertz", "band"), [(250, 6), (1000, 26), (4000, 62)])
def test_tones_are_in_the_bands_of_whisper(hertz: float, band: int) -> None:
    assert features(tone(hertz, 8)).mean(axis=1).argmax() == pytest.approx(band, abs=1)


def test_loudness_does_not_matter() -> None:
    loud = tone(440, 8)
    assert features(loud * 0.05) == pytest.approx(features(loud), abs=1e-3)


def test_turns_of_a_batch_are_judged_each_by_itself(tmp_path: Path) -> None:
    endpointers.write(tmp_path)
    engine = SmartTurn(str(tmp_path))
    engine.load()
    turns = [noise(3), np.concatenate([noise(3), silence(2)]), noise(12)]
    together = probabilities(engine, turns)
    alone = [probabilities(engine, [samples])[0] for samples in turns]
    engine.close()
    assert together == pytest.approx(alone)
    assert together[1] < min(together[0], together[2])


def test_a_file_that_is_no_network_is_told(tmp_path: Path) -> None:
    assert MODEL.weights
    (tmp_path / MODEL.weights.required[0]).write_bytes(b"nothing")
    with pytest.raises(ModelNotInstalled):
        SmartTurn(str(tmp_path)).load()


def test_the_command_line_can_pull_it() -> None:
    model = Inventory.of(load_settings()).find("smart-turn")
    assert model.installation == "reflector-gpu models pull smart-turn"
    assert model.weights
    assert model.weights.pins
    assert model.weights.pins.wheels == ("pipecat-ai==1.14.0",)


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmartTurn]:
    monkeypatch.setenv("HF_HUB_CACHE", str(ORDINARY_CACHE))
    assert MODEL.weights
    if MODEL.weights.folder is None:
        pytest.skip("its weights are not here: reflector-gpu models pull smart-turn")
    engine = SmartTurn(str(MODEL.weights.folder))
    engine.load()
    yield engine
    engine.close()


def test_the_network_tells_the_end_of_a_sentence_from_its_pauses(real: SmartTurn) -> None:
    with Spool(limit=10**9) as spool:
        spool.write((SAMPLES / "jfk.flac").read_bytes())
        spool.finish()
        jfk = np.concatenate(list(decode(spool.reader())))
    pauses = {"ask not": 4.57, "what your country can do for you,": 7.80, "your country.": 10.72}
    heard = [jfk[: int(seconds * SAMPLE_RATE)] for seconds in pauses.values()]
    complete = [probability >= 0.5 for probability in probabilities(real, heard)]
    assert complete == [False, False, True]
