"""The features are those that onnx-asr computes, in batches of any lengths."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reflector_gpu.engines.recognition.parakeet.pieces import padded
from reflector_gpu.engines.recognition.parakeet.pytorch.features import LogMel
from tests.engines.tiny import PARAKEET, clips
from tests.engines.transducers import load


@pytest.mark.parametrize("count", [1, 7])
def test_features_are_those_of_the_other_engine(count: int) -> None:
    batch = [clip.samples for clip in clips("en")][:count]
    batch.append(np.random.default_rng(0).uniform(-1, 1, 1600).astype(np.float32))
    waveforms, lengths = padded(batch)
    model = load(PARAKEET)
    theirs, counts = model._preprocessor(waveforms, lengths)

    ours, mask = LogMel(128, "cpu")(torch.from_numpy(waveforms), torch.from_numpy(lengths))

    assert mask.sum(1).tolist() == counts.tolist()
    for row, frames in enumerate(counts):
        found = ours[row, :frames].numpy()
        assert found == pytest.approx(theirs[row].T[:frames], abs=2e-3)
    assert not ours[~mask].any()


def test_a_row_without_samples_is_zeros() -> None:
    features, mask = LogMel(128, "cpu")(torch.zeros(2, 3200), torch.tensor([3200, 0]))
    assert not mask[1].any()
    assert torch.isfinite(features).all()
    assert not features[1].any()
