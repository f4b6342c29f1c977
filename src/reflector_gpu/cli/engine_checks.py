"""``doctor``'s checks of decoder, voice detector and engines, with a spoken sentence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import av

from reflector_gpu.audio.decode import decode
from reflector_gpu.audio.spool import Spool
from reflector_gpu.audio.vad import WINDOW, VoiceActivity
from reflector_gpu.cli.checks import Check, Status
from reflector_gpu.cli.local_transcription import LocalTranscriber
from reflector_gpu.cli.sources import Source
from reflector_gpu.engines.diarization.catalog import DIARIZERS
from reflector_gpu.engines.recognition.base import RecogniserModel
from reflector_gpu.engines.translation.base import TranslatorModel
from reflector_gpu.engines.translation.catalog import TRANSLATORS
from reflector_gpu.engines.weights import size
from reflector_gpu.errors import ReflectorError
from reflector_gpu.llm.base import CompletionRequest
from reflector_gpu.pipeline.transcription import collect
from reflector_gpu.service import Service
from reflector_gpu.service.catalogs import recognisers_of
from reflector_gpu.settings import Settings
from reflector_gpu.types import (
    SAMPLE_RATE,
    DiarizeOptions,
    Message,
    Prompt,
    Samples,
    SamplingOptions,
)

SENTENCE = Path(__file__).with_name("hello.ogg")
"""Three seconds of Opus, spoken by flite's voice slt, whose licence sets no condition on it."""

SPOKEN = "hello everyone thank you for coming today"

_CODECS = ("aac", "flac", "mp3", "opus", "pcm_s16le", "vorbis")
_REINSTALL = "pip install --force-reinstall {}"
_QUESTION = "Say hello."
_ENOUGH_TOKENS = 16  # a reasoning model that is still thinking by then works, too
_DEAF = "scripted"  # it makes its words up


def engines(settings: Settings, say: Callable[[str], None]) -> Iterator[Check]:
    """Decode the sentence, find the speech in it, and have each engine work on it.

    ``say`` is told what is being done, because loading a model takes a while.
    """
    try:
        blocks = _decoded()
    except (ReflectorError, av.FFmpegError) as error:
        yield Check("decoding", Status.FAIL, str(error), _REINSTALL.format("av"))
    else:
        yield _codecs()
        yield _voice(blocks)
    catalog = recognisers_of(settings)
    others = [model for model in catalog.models.values() if model is not catalog.default]
    for model in (catalog.default, *(one for one in others if not one.missing)):
        say(f"Checking {model.name}")
        yield _engine(settings, model, essential=model is catalog.default)
    say(f"Checking {settings.diarizer}")
    yield diarizer(settings)
    yield from (translator(TRANSLATORS.find(name, {})) for name in settings.translator)
    if settings.llm_engine != "none":
        say("Asking the language model")
        yield language_model(settings)
    absent = sum(bool(model.missing) for model in others)
    if absent:
        yield Check(
            "models", Status.OK, f"{absent} more are not installed: see reflector-gpu models list"
        )


def _decoded() -> list[Samples]:
    with Spool.of(SENTENCE) as spool:
        return list(decode(spool.reader()))


def _codecs() -> Check:
    missing = [name for name in _CODECS if name not in av.codecs_available]
    if missing:
        detail = f"this FFmpeg has no decoder for {', '.join(missing)}"
        return Check("decoding", Status.WARN, detail, _REINSTALL.format("av"))
    return Check("decoding", Status.OK, f"PyAV {av.__version__}: {', '.join(_CODECS)}")


def _voice(blocks: list[Samples]) -> Check:
    fix = _REINSTALL.format("onnxruntime")
    try:
        detector = VoiceActivity()
        found = [
            probability
            for block in blocks
            for probability in detector.probabilities(block[: len(block) // WINDOW * WINDOW])
        ]
    except Exception as error:  # noqa: BLE001  a broken ONNX Runtime may raise anything
        return Check("voice", Status.FAIL, f"the detector does not run: {error}", fix)
    seconds = sum(probability > 0.5 for probability in found) * WINDOW / SAMPLE_RATE
    if seconds < 1:
        return Check("voice", Status.FAIL, "the detector finds no speech in a sentence", fix)
    return Check("voice", Status.OK, f"found {seconds:.1f} s of speech in a sentence")


def _engine(settings: Settings, model: RecogniserModel, *, essential: bool) -> Check:
    """Whether ``model`` loads in a worker process and recognises the sentence."""
    name = model.name
    bad = Status.FAIL if essential else Status.WARN
    if model.weights and model.downloadable and settings.auto_pull:
        detail = f"will be downloaded first: {size(model.weights.megabytes)}"
        return Check(name, Status.WARN, detail, model.installation)
    if model.missing:
        return Check(name, bad, "the configured model is not installed", model.installation)
    began = time.monotonic()
    try:
        heard = asyncio.run(_heard(LocalTranscriber({"model": model.name}, settings)))
    except ReflectorError as error:
        return Check(name, bad, error.message, "choose another model: reflector-gpu models list")
    took = f"in {time.monotonic() - began:.1f} s, loading included"
    if model.name != _DEAF and not _alike(heard, SPOKEN):
        detail = f'heard "{heard}" instead of "{SPOKEN}" {took}'
        return Check(name, bad, detail, "this engine does not recognise speech on this machine")
    return Check(name, Status.OK, f'heard "{heard}" {took}')


def translator(model: TranslatorModel) -> Check:
    """Whether a configured translator is installed."""
    if model.missing:
        detail = "the configured translator is not installed"
        return Check(model.name, Status.WARN, detail, model.installation)
    return Check(model.name, Status.OK, "the configured translator is installed")


def diarizer(settings: Settings) -> Check:
    """Whether the configured diarizer loads in a worker process and finds one speaker.

    It is not essential: many requests ask for no speakers.
    """
    model = DIARIZERS.find(settings.diarizer, settings.model_paths)
    if model.missing:
        wait = settings.auto_pull and model.downloadable
        detail = "will be downloaded first" if wait else "the configured diarizer is not installed"
        return Check(model.name, Status.WARN, detail, model.installation)
    try:
        found = asyncio.run(_speakers(settings))
    except ReflectorError as error:
        return Check(
            model.name, Status.WARN, error.message, "REFLECTOR_DIARIZER=pyannet needs nothing"
        )
    if found != 1:
        fix = "this diarizer does not tell speakers apart on this machine"
        return Check(model.name, Status.WARN, f"heard {found} speakers instead of one", fix)
    return Check(model.name, Status.OK, "heard that one person speaks")


async def _speakers(settings: Settings) -> int:
    service = Service(settings)
    try:
        with Spool.of(SENTENCE) as spool:
            turns = (await service.recordings.diarize(spool, DiarizeOptions())).turns
    finally:
        await service.close()
    return len({turn.speaker for turn in turns})


def language_model(settings: Settings) -> Check:
    """Whether the configured language model answers."""
    try:
        name, said = asyncio.run(_answered(settings))
    except ReflectorError as error:
        fix = "see REFLECTOR_LLM_ENGINE, REFLECTOR_LLM_MODEL and REFLECTOR_LLM_BASE_URL"
        return Check("llm", Status.WARN, error.message, fix)
    return Check("llm", Status.OK, f'{name} began to answer "{_QUESTION}": "{said}"')


async def _answered(settings: Settings) -> tuple[str, str]:
    service = Service(settings)
    try:
        model = service.language_model()
        await model.ready(settings.load_seconds)
        prompt = Prompt((Message("user", _QUESTION),), max_tokens=_ENOUGH_TOKENS)
        found = await model.complete(CompletionRequest(prompt, SamplingOptions(temperature=0)))
        return model.name, found.text
    finally:
        await service.close()


async def _heard(recogniser: LocalTranscriber) -> str:
    source = Source(str(SENTENCE), SENTENCE)
    async with recogniser.running(), aclosing(recogniser.parts(source, lambda _: None)) as parts:
        return (await collect(parts)).text


def _alike(heard: str, spoken: str) -> bool:
    """Whether at least half of the words were heard, whatever their punctuation and case."""
    words = {word.strip(".,!?").lower() for word in heard.split()}
    return sum(word in words for word in spoken.split()) >= len(spoken.split()) / 2
