"""PocketSphinx 5: US English on any CPU, with the model inside its wheel.

Thirty years of engineering without a neural network: good on clear read speech, poor on meetings.
It is here so that the whole service runs on a bare machine with nothing downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from reflector_gpu.engines.outcomes import each
from reflector_gpu.engines.recognition.base import RecogniserModel, RecogniserSpec, checked
from reflector_gpu.errors import ModelNotInstalled, ReflectorError
from reflector_gpu.types import (
    SAMPLE_RATE,
    Recognition,
    Samples,
    Segment,
    TranscribeOptions,
    Word,
)

if TYPE_CHECKING:
    import pocketsphinx

SPEC = RecogniserSpec(
    languages=frozenset({"en"}),
    max_chunk_seconds=20.0,
    max_gap_seconds=1.5,
    max_batch=1,
    single_threaded=True,
    quick_restart=True,
)

MODELS = (
    RecogniserModel(
        "sphinx",
        "reflector_gpu.engines.recognition.sphinx:SphinxRecogniser",
        SPEC,
        "PocketSphinx 5, US English, CPU; clear read speech only",
        "BSD-2-Clause",
        packages=("pocketsphinx",),
    ),
)

_FRAMES_PER_SECOND = 100
_FILLER = re.compile(r"^[<\[]")  # <s>, <sil>, [NOISE], ...
_VARIANT = re.compile(r"\(\d+\)$")  # the(2): the second pronunciation of "the"


class SphinxRecogniser:
    def __init__(self) -> None:
        self._decoder: pocketsphinx.Decoder | None = None

    def load(self) -> None:
        try:
            import pocketsphinx
        except ImportError as error:
            raise ModelNotInstalled(
                "Model 'sphinx' needs the package pocketsphinx: pip install pocketsphinx"
            ) from error
        self._decoder = pocketsphinx.Decoder(loglevel="FATAL")

    def transcribe(
        self, chunks: Sequence[Samples], options: TranscribeOptions
    ) -> Sequence[Recognition | ReflectorError]:
        return each(self._recognise, chunks)

    def close(self) -> None:
        self._decoder = None

    def _recognise(self, samples: Samples) -> Recognition:
        assert self._decoder is not None, "load() comes first"
        if not checked(samples).any():
            return Recognition(language="en")  # in digital silence it hears "gosh"
        # The whole utterance at once lets the decoder normalise by its own cepstral mean; fed
        # piece by piece it must guess that mean, which costs a third of the words.
        pcm = np.round(samples * 32767).clip(-32768, 32767).astype(np.int16)
        self._decoder.reinit_feat()  # or its estimate of the noise would come from other audio
        self._decoder.start_utt()
        self._decoder.process_raw(pcm.tobytes(), no_search=False, full_utt=True)
        self._decoder.end_utt()
        end = len(samples) / SAMPLE_RATE
        words = [
            Word(
                _VARIANT.sub("", part.word),
                min(part.start_frame / _FRAMES_PER_SECOND, end),
                min((part.end_frame + 1) / _FRAMES_PER_SECOND, end),
                probability=min(1.0, part.prob),
            )
            for part in self._decoder.seg() or ()
            if not _FILLER.match(part.word)
        ]
        return Recognition((Segment.of(words),) if words else (), "en")
