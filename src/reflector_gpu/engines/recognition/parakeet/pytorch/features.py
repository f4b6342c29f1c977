"""NeMo's features, for a whole batch on the device: normalised log mel spectrograms."""

from __future__ import annotations

import torch
from transformers.audio_utils import mel_filter_bank

from reflector_gpu.types import SAMPLE_RATE

HOP = SAMPLE_RATE // 100
_WINDOW, _TRANSFORM = SAMPLE_RATE // 40, 512
_PREEMPHASIS = 0.97
_LEAST_POWER = 2.0**-24  # is added before the logarithm
_LEAST_DEVIATION = 1e-5


class LogMel:
    """Computes ``bands`` features for each hundredth of a second."""

    def __init__(self, bands: int, device: str) -> None:
        filters = mel_filter_bank(
            num_frequency_bins=_TRANSFORM // 2 + 1,
            num_mel_filters=bands,
            min_frequency=0.0,
            max_frequency=SAMPLE_RATE / 2,
            sampling_rate=SAMPLE_RATE,
            norm="slaney",
            mel_scale="slaney",
        )
        self._filters = torch.from_numpy(filters.T.copy()).to(device, torch.float32)
        self._window = torch.hann_window(_WINDOW, periodic=False, device=device)

    def __call__(
        self, waveforms: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``float32[b, frames, bands]``, and which frames count: ``bool[b, frames]``.

        Of row ``b`` of ``waveforms``, ``lengths[b]`` samples count. The others must be zeros.
        """
        powers = self._spectrum(_emphasised(waveforms, lengths)) @ self._filters.T
        logs = torch.log(powers + _LEAST_POWER)
        count = (lengths // HOP)[:, None]
        mask = torch.arange(logs.shape[1], device=logs.device) < count
        return _normalised(logs, mask, count[:, :, None]), mask

    def _spectrum(self, waveforms: torch.Tensor) -> torch.Tensor:
        found = torch.stft(
            waveforms,
            _TRANSFORM,
            hop_length=HOP,
            win_length=_WINDOW,
            window=self._window,
            pad_mode="constant",
            return_complex=True,
        )
        return torch.view_as_real(found).square().sum(-1).transpose(1, 2)


def _emphasised(waveforms: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """``waveforms`` with the high frequencies raised. What does not count stays zero."""
    differences = waveforms[:, 1:] - _PREEMPHASIS * waveforms[:, :-1]
    found = torch.cat([waveforms[:, :1], differences], dim=1)
    counted = torch.arange(found.shape[1], device=found.device) < lengths[:, None]
    return found * counted


def _normalised(logs: torch.Tensor, mask: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """``logs`` with mean 0 and deviation 1 in each band of each row, and 0 where nothing counts."""
    counted = mask[:, :, None]
    mean = (logs * counted).sum(1, keepdim=True) / count.clamp(min=1)
    centred = (logs - mean) * counted
    variance = centred.square().sum(1, keepdim=True) / (count - 1).clamp(min=1)
    return centred / (variance.sqrt() + _LEAST_DEVIATION)
