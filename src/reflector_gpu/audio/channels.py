"""Single channels of a recording: telephones and meeting tools put a speaker on each of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from reflector_gpu.audio.container import claimed_seconds, damage_of, frames, opened
from reflector_gpu.audio.spool import SpoolReader
from reflector_gpu.audio.tracks import ONLY_TRACK, TrackWish, audio_track, chosen
from reflector_gpu.audio.wav import PlainWav


@dataclass(frozen=True, slots=True)
class Layout:
    """How many of the wanted tracks a file has, and how many channels the first of these.

    ``seconds`` is how long the file claims to be, an estimate; None where it claims nothing.
    """

    tracks: int
    channels: int
    seconds: float | None = field(default=None, compare=False)


def layout_of(reader: SpoolReader, wish: TrackWish) -> Layout:
    """What there is to choose from; a single track if the client names one.

    The first frame decides: headers of telephone recordings and of AAC may say something else.

    Raises:
        UndecodableAudio: the file has no audio.
        InvalidRequest: it has no such track.
    """
    if plain := PlainWav.of(reader):
        chosen(ONLY_TRACK, wish)
        return Layout(1, 1, plain.seconds)
    with opened(reader) as container:
        stream, _ = audio_track(container, wish)
        tracks = 1 if wish.wanted is not None else len(container.streams.audio)
        first = next(frames(container, stream, damage_of(container)), None)
        channels = first[1].layout.nb_channels if first else 1
        return Layout(tracks, channels, claimed_seconds(container))


def channel_of(frame: AudioFrame, channel: int) -> AudioFrame:
    """One channel of ``frame``; silence if it has none with this number.

    Raises:
        ValueError: the frame is of no possible shape.
    """
    array, channels = frame.to_ndarray(), frame.layout.nb_channels
    planes = array if frame.format.is_planar else array.reshape(-1, channels).T
    own: NDArray[Any]
    if channel < len(planes):
        own = np.ascontiguousarray(planes[channel : channel + 1])
    else:
        middle = 128 if array.dtype == np.uint8 else 0
        own = np.full((1, frame.samples), middle, array.dtype)
    found = AudioFrame.from_ndarray(own, frame.format.name, "mono")
    found.sample_rate = frame.sample_rate
    return found
