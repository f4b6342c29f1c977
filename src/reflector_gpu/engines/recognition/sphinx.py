"""PocketSphinx 5: US English on any CPU, with the model inside its wheel.

It has no neural network, and is good on clear read speech and poor on meetings. With it, the
service runs on a bare machine without any download.
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
            return Recognition(language="en")  # it would hear "gosh" in digital silence
        # With the whole utterance the decoder can normalise by its cepstral mean. In pieces it
        # would have to guess that mean, which costs a third of the words.
        pcm = np.round(samples * 32767).clip(-32768, 32767).astype(np.int16)
        self._decoder.reinit_feat()  # otherwise its estimate of the noise is from other audio
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
