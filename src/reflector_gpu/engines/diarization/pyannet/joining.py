"""From the voices of all windows to who speaks when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from reflector_gpu.engines.diarization.pyannet.clustering import assigned, people
from reflector_gpu.engines.diarization.pyannet.networks import Voice
from reflector_gpu.engines.diarization.pyannet.timeline import Windows, turns
from reflector_gpu.types import DiarizeOptions, SpeakerTurn


def told_apart(
    windows: Windows, voices: Sequence[Voice], seconds: float, options: DiarizeOptions
) -> list[SpeakerTurn]:
    """Who speaks when, by the ``voices`` of all ``windows``."""
    if not voices:
        return []
    clear = [one.vector for one in voices if one.clear] or [one.vector for one in voices]
    centroids = people(np.stack(clear), options)
    person: dict[tuple[int, int], int] = {}
    for window, own in by_window(voices):
        vectors = np.stack([one.vector for one in own]).astype(np.float32)
        for one, who in zip(own, assigned(vectors @ centroids.T), strict=True):
            person[window, one.speaker] = int(who)
    together = 1 if options.exclusive else options.most
    return turns(windows, person, len(centroids), seconds, together)


def by_window(voices: Sequence[Voice]) -> Iterator[tuple[int, list[Voice]]]:
    """The number of each window that has any of ``voices``, and its own."""
    own: list[Voice] = []
    for one in voices:
        if own and own[0].window != one.window:
            yield own[0].window, own
            own = []
        own.append(one)
    if own:
        yield own[0].window, own
