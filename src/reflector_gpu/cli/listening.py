"""``listen``: the microphone, or a file at its own pace, to words while they are spoken."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import numpy as np

from reflector_gpu import logs
from reflector_gpu.audio.decode import decode
from reflector_gpu.audio.spool import Spool
from reflector_gpu.cli import interrupt
from reflector_gpu.cli.captions import Captions, Lines
from reflector_gpu.cli.downloads import download
from reflector_gpu.errors import InvalidRequest
from reflector_gpu.live.base import LiveTranscriber
from reflector_gpu.service import Service
from reflector_gpu.service.parameters import TranscriptionParameters
from reflector_gpu.settings import load_settings
from reflector_gpu.types import SAMPLE_RATE, Priority, Samples

_BLOCK = SAMPLE_RATE // 10  # samples, a tenth of a second


def run(
    source: str | None, *, model: str | None, language: str | None, profile: str | None
) -> None:
    """Print what is said in the file ``source``, or into the microphone until Ctrl-C.

    Raises:
        ReflectorError: the settings, the model, the language or the source do not work.
    """
    settings = load_settings(profile=profile)
    service = Service(settings)
    parameters = TranscriptionParameters.of(model=model, language=language)
    recogniser = service.resolve(parameters.model, parameters.options())
    if service.may_download(recogniser):
        download(recogniser, settings)
    request = service.request(recogniser, parameters, priority=Priority.LIVE)
    path = Path(source) if source is not None else None
    if path is None:
        _check_microphone()
    elif not path.is_file():
        raise InvalidRequest(f"There is no file '{source}'.")
    logs.discard()
    interrupt.raise_error()

    async def listen() -> None:
        try:
            await service.loaded(recogniser)
            blocks = _microphone() if path is None else _paced(path)
            await _listen(service.recordings.live(request), blocks)
        finally:
            await service.close()

    asyncio.run(listen())


async def _listen(live: LiveTranscriber, blocks: AsyncGenerator[Samples, None]) -> None:
    terminal = sys.stdout.isatty()
    captions = Captions(shutil.get_terminal_size().columns) if terminal else Lines()
    utterance = live.utterance()

    async def speak() -> None:
        async with aclosing(blocks):
            async for block in blocks:
                utterance.push(block)
        utterance.finish()

    speaking = asyncio.create_task(speak())
    speaking.add_done_callback(lambda _: utterance.finish())  # even if the source fails
    try:
        async with aclosing(utterance):
            async for heard in utterance:
                _write(captions.of(heard))
        await speaking
    finally:
        speaking.cancel()
        _write(captions.end())


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


async def _paced(path: Path) -> AsyncGenerator[Samples, None]:
    """What is in a file, as fast as it was spoken."""
    clock = asyncio.get_running_loop().time
    began, seconds = clock(), 0.0
    with path.open("rb", buffering=0) as file, Spool.over(file) as spool:
        decoded = decode(spool.reader())
        while (block := await asyncio.to_thread(next, decoded, None)) is not None:
            for first in range(0, len(block), _BLOCK):
                part = block[first : first + _BLOCK]
                seconds += len(part) / SAMPLE_RATE
                await asyncio.sleep(began + seconds - clock())
                yield part


def _check_microphone() -> None:
    """Raise `InvalidRequest` if this machine cannot record."""
    try:
        import sounddevice
    except ImportError:
        raise InvalidRequest(
            "The microphone needs a package: pip install sounddevice. Or name a file."
        ) from None
    except OSError:
        raise InvalidRequest(
            "The microphone needs PortAudio: apt-get install libportaudio2. Or name a file."
        ) from None
    try:
        sounddevice.check_input_settings(samplerate=SAMPLE_RATE, channels=1)
    except sounddevice.PortAudioError as error:
        raise InvalidRequest(
            f"There is no microphone to listen to: {error}. Name a file."
        ) from None


async def _microphone() -> AsyncGenerator[Samples, None]:
    """What the microphone hears."""
    import sounddevice

    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[Samples] = asyncio.Queue()

    def take(data: Samples, *_: object) -> None:
        loop.call_soon_threadsafe(heard.put_nowait, np.array(data[:, 0]))

    with sounddevice.InputStream(SAMPLE_RATE, _BLOCK, channels=1, dtype="float32", callback=take):
        while True:
            yield await heard.get()
