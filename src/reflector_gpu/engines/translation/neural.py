"""Neural translation on CTranslate2: M2M100, NLLB-200, MADLAD-400 and OPUS-MT.

A folder holds the converted model, its vocabulary and its SentencePiece models. The vocabulary
shows the family and the languages. The families differ in where these are given in the input (Fan
et al. 2020, https://arxiv.org/abs/2010.11125; NLLB Team 2022, https://arxiv.org/abs/2207.04672;
Kudugunta et al. 2023, https://arxiv.org/abs/2309.04662; Tiedemann and Thottingal 2020).

To convert a model: ``ct2-transformers-converter --model facebook/m2m100_418M
--quantization int8 --output_dir m2m100 --copy_files sentencepiece.bpe.model`` (of OPUS-MT
``source.spm target.spm``, of MADLAD-400 ``spiece.model``), in a place with transformers and torch.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from reflector_gpu.engines.accelerators import check_ctranslate2, ctranslate2_batch
from reflector_gpu.engines.base import needs_extra
from reflector_gpu.engines.outcomes import together
from reflector_gpu.engines.translation.base import Directions, TranslatorModel, TranslatorSpec
from reflector_gpu.engines.weights import Weights
from reflector_gpu.errors import (
    ConfigurationError,
    ModelNotInstalled,
    ReflectorError,
)
from reflector_gpu.types import TranslateOptions

if TYPE_CHECKING:
    import ctranslate2
    import sentencepiece

SPEC = TranslatorSpec(
    max_batch=64,
    max_batch_characters=16_000,
    max_characters=400,
    needs_sentences=True,
    devices=("cpu", "cuda"),
    compute_types=True,
)

ENGINE = "reflector_gpu.engines.translation.neural:CTranslate2Translator"

_BEAM = 4
_LONGEST_ANSWER = 512  # tokens; stops a model that repeats itself

_PIECES = ("sentencepiece.bpe.model", "sentencepiece.model", "spiece.model", "source.spm")
_FILES = (
    "config.json",
    "model.bin",
    "shared_vocabulary.*",
    "source_vocabulary.*",
    "target_vocabulary.*",
    *_PIECES,
    "target.spm",
)
_OPUS = re.compile(r"opus-mt-(?P<source>[a-z]{2,3})-(?P<target>[a-z]{2,3})")


@dataclass(frozen=True, slots=True)
class _Family:
    """``token`` finds a language's code in its token. With ``sources``, a sentence begins with its
    own language; without, it begins with the target.
    """

    token: re.Pattern[str]
    written: str
    sources: bool


_FAMILIES = (
    _Family(re.compile(r"__([a-z]{2,3})__"), "__{}__", sources=True),  # M2M100
    _Family(re.compile(r"([a-z]{3}_[A-Z][a-z]{3})"), "{}", sources=True),  # NLLB-200
    _Family(re.compile(r"<2([A-Za-z_]{2,})>"), "<2{}>", sources=False),  # MADLAD-400
)


def directions(arguments: Mapping[str, str]) -> Directions:
    """What the model in the folder ``weights`` translates. ``pair`` says it if the files do not."""
    if pair := arguments.get("pair"):
        source, _, target = pair.partition("-")
        return Directions({source: (target,)})
    return _read(Path(arguments["weights"]))


@lru_cache(8)
def _read(folder: Path) -> Directions:
    vocabulary = _vocabulary(folder)
    family = _family(vocabulary)
    assert family is not None, "a folder without languages has been refused"
    codes = tuple(found[1] for piece in vocabulary if (found := family.token.fullmatch(piece)))
    return Directions(dict.fromkeys(codes, codes))


def _vocabulary(folder: Path) -> list[str]:
    for name in ("shared_vocabulary", "target_vocabulary"):
        if (file := folder / f"{name}.json").is_file():
            pieces: list[str] = json.loads(file.read_text(encoding="utf-8"))
            return pieces
        if (file := folder / f"{name}.txt").is_file():
            return file.read_text(encoding="utf-8").split("\n")
    return []


def _family(vocabulary: Sequence[str]) -> _Family | None:
    """The family of a model with this ``vocabulary``; None if it knows a single pair."""
    for family in _FAMILIES:
        if sum(1 for piece in vocabulary if family.token.fullmatch(piece)) > 1:
            return family
    return None


def _model(
    name: str, repository: str, pieces: str, megabytes: int, summary: str, licence: str
) -> TranslatorModel:
    return TranslatorModel(
        name,
        ENGINE,
        SPEC,
        summary,
        licence,
        packages=("ctranslate2", "sentencepiece", "sentencex"),
        extra="translation",
        weights=Weights(repository, _FILES, ("config.json", "model.bin", pieces), megabytes),
        read=directions,
    )


MODELS = (
    _model(
        "m2m100",
        "jncraton/m2m100_418M-ct2-int8",
        "sentencepiece.bpe.model",
        497,
        "M2M100 418M, any of 100 languages to any other",
        "MIT",
    ),
    _model(
        "m2m100-1.2b",
        "entai2965/m2m100-1.2B-ctranslate2",
        "sentencepiece.bpe.model",
        4970,
        "M2M100 1.2B, any of 100 languages to any other",
        "MIT",
    ),
    _model(
        "nllb-200-600m",
        "skywood/nllb-200-distilled-600M-ct2-int8",
        "sentencepiece.bpe.model",
        634,
        "NLLB-200 distilled 600M, any of 200 languages to any other; not for commercial use",
        "CC-BY-NC-4.0",
    ),
    _model(
        "nllb-200-1.3b",
        "skywood/nllb-200-distilled-1.3B-ct2-float16",
        "sentencepiece.bpe.model",
        2750,
        "NLLB-200 distilled 1.3B, any of 200 languages to any other; not for commercial use",
        "CC-BY-NC-4.0",
    ),
    _model(
        "madlad400-3b",
        "SoybeanMilk/madlad400-3b-mt-ct2-int8_float16",
        "spiece.model",
        2960,
        "MADLAD-400 3B, any of 400 languages to any other",
        "Apache-2.0",
    ),
)


def opus(name: str) -> TranslatorModel | None:
    """The OPUS-MT of a pair, such as ``opus-mt-en-fr``. None for names of another form."""
    pair = _OPUS.fullmatch(name)
    if pair is None:
        return None
    model = _model(
        name,
        f"gaudi/{name}-ctranslate2",
        "source.spm",
        160,
        f"OPUS-MT, {pair['source']} to {pair['target']}",
        "CC-BY-4.0",
    )
    return _of_pair(model, pair)


def local(folder: Path) -> TranslatorModel:
    """The translator in an operator's folder. The name of an OPUS-MT's folder has its pair.

    Raises:
        ConfigurationError: the folder holds none.
    """
    if not (folder / "model.bin").is_file() or _pieces_file(folder) is None:
        raise ConfigurationError(
            f"REFLECTOR_TRANSLATOR: '{folder}' holds no CTranslate2 model (model.bin) with its "
            f"SentencePiece model ({', '.join(_PIECES)})."
        )
    model = TranslatorModel(
        folder.name,
        ENGINE,
        SPEC,
        "Translator from a local folder",
        "see the folder",
        packages=("ctranslate2", "sentencepiece", "sentencex"),
        extra="translation",
        arguments={"weights": str(folder)},
        read=directions,
    )
    if _family(_vocabulary(folder)):
        return model
    pair = _OPUS.search(folder.name)
    if pair is None:
        raise ConfigurationError(
            f"REFLECTOR_TRANSLATOR: the model in '{folder}' names no languages: call the folder "
            "opus-mt-en-fr, with its own pair."
        )
    return _of_pair(model, pair)


def _of_pair(model: TranslatorModel, pair: re.Match[str]) -> TranslatorModel:
    arguments = {**model.arguments, "pair": f"{pair['source']}-{pair['target']}"}
    return replace(model, arguments=arguments)


def _pieces_file(folder: Path) -> Path | None:
    return next((folder / name for name in _PIECES if (folder / name).is_file()), None)


class CTranslate2Translator:
    """``weights`` is a folder with `_FILES`; ``device`` is ``cpu`` or ``cuda``.

    ``compute_type`` is CTranslate2's, by default ``int8`` on CPU and ``float16`` on CUDA. ``pair``
    is not used here: the service reads it, because such a model knows one direction.
    """

    def __init__(
        self, weights: str, device: str = "cpu", compute_type: str = "", pair: str = ""
    ) -> None:
        self._folder = Path(weights)
        self._device = device
        self._compute_type = compute_type or ("float16" if device == "cuda" else "int8")
        self._pair = pair
        self._family: _Family | None = None
        self._translator: ctranslate2.Translator | None = None
        self._source: sentencepiece.SentencePieceProcessor
        self._target: sentencepiece.SentencePieceProcessor
        self._end: tuple[str, ...] = ()

    def load(self) -> None:
        with needs_extra("Translation models", "translation"):
            import ctranslate2
            import sentencepiece
        pieces = _pieces_file(self._folder)
        # The errors of CTranslate2 and SentencePiece about missing files are unclear.
        if pieces is None or not (self._folder / "model.bin").is_file():
            raise ModelNotInstalled("The folder of this translator lacks some of its files.")
        check_ctranslate2("Translation", self._device, self._compute_type)
        self._family = None if self._pair else _family(_vocabulary(self._folder))
        self._source = sentencepiece.SentencePieceProcessor(str(pieces))
        target = self._folder / "target.spm"
        self._target = (
            sentencepiece.SentencePieceProcessor(str(target)) if target.is_file() else self._source
        )
        config = json.loads((self._folder / "config.json").read_text(encoding="utf-8"))
        if not config.get("add_source_eos"):
            self._end = (str(config.get("eos_token") or "</s>"),)
        self._translator = ctranslate2.Translator(
            str(self._folder),
            device=self._device,
            compute_type=self._compute_type,
            intra_threads=int(os.environ.get("OMP_NUM_THREADS", "0")),
        )

    def translate(
        self, texts: Sequence[str], options: TranslateOptions
    ) -> Sequence[str | ReflectorError]:
        """Translate ``texts``, as `Translator` says. Text that the model cannot read stays.

        Raises:
            EngineFailed: the device has no memory for so many sentences at once.
        """
        assert self._translator is not None, "load() comes first"
        translate = self._translator.translate_batch
        prefix = self._prefix(options)

        def translated(batch: Sequence[list[str]]) -> list[str]:
            with ctranslate2_batch("Translation", len(batch)):
                found = translate(
                    list(batch),
                    target_prefix=[prefix] * len(batch) if prefix else None,
                    beam_size=_BEAM,
                    max_input_length=0,  # else it silently cuts longer text
                    max_decoding_length=_LONGEST_ANSWER,
                    disable_unk=True,
                )
            return [self._decoded(one.hypotheses[0]) for one in found]

        return together(translated, list, [self._encoded(text, options) or text for text in texts])

    def close(self) -> None:
        self._translator = None

    def _encoded(self, text: str, options: TranslateOptions) -> list[str]:
        """The tokens of ``text`` for the encoder; none if there is nothing to read."""
        family = self._family
        pieces = self._plain(self._source.encode(text, out_type=str))
        if not any(piece.strip("▁") for piece in pieces):
            return []
        if family is None:
            return [*pieces, *self._end]
        if family.sources:
            return [family.written.format(options.source), *pieces, *self._end]
        target = family.written.format(options.target)
        # Its SentencePiece model knows these tokens, and joins them to the text correctly.
        whole: list[str] = self._source.encode(f"{target} {text}", out_type=str)
        first = whole.index(target) + 1 if target in whole else 0
        return [*whole[:first], *self._plain(whole[first:]), *self._end]

    def _prefix(self, options: TranslateOptions) -> list[str]:
        if self._family is None or not self._family.sources:
            return []
        return [self._family.written.format(options.target)]

    def _decoded(self, tokens: Sequence[str]) -> str:
        return str(self._target.decode(self._plain(tokens))).strip()

    def _plain(self, pieces: Sequence[str]) -> list[str]:
        """``pieces`` without those that name a language: a client's text must not choose one."""
        family = self._family
        return [p for p in pieces if family is None or not family.token.fullmatch(p)]
