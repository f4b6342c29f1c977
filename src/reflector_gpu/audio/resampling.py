"""Resamples frames that damage may have made impossible."""

from __future__ import annotations

from fractions import Fraction

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler


def resampled(resampler: AudioResampler, frame: AudioFrame | None) -> list[AudioFrame]:
    """What ``resampler`` makes of ``frame``; of None, the rest that it holds back.

    A frame of no possible shape gives nothing.

    Raises:
        MemoryError
    """
    if frame is not None:
        frame.pts = None  # the resampler would reorder by time stamps; holes are ours to fill
        frame.time_base = Fraction(1, frame.sample_rate)
    try:
        return resampler.resample(frame)
    except MemoryError:
        raise
    except (av.FFmpegError, ValueError):
        return []
