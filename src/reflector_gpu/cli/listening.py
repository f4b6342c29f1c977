"""``listen``: the microphone, or a file at its own pace, to words while they are spoken."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncGenerator, AsyncIterable, Coroutine, Mapping
from contextlib import aclosing
from pathlib import Path

import numpy as np

from reflector_gpu import logs
from reflector_gpu.audio.decode import decode
from reflector_gpu.audio.spool import Spool
from reflector_gpu.cli import interrupt
from reflector_gpu.cli.captions import Captions, Lines
from reflector_gpu.cli.downloads import download
from reflector_gpu.cli.remote_listening import session
from reflector_gpu.errors import InvalidRequest
from reflector_gpu.live.base import Heard, LiveUtterance
from reflector_gpu.service import Service
from reflector_gpu.service.parameters import TranscriptionParameters
from reflector_gpu.settings import load_settings
from reflector_gpu.types import SAMPLE_RATE, Priority, Samples

_BLOCK = SAMPLE_RATE // 10  # samples, a tenth of a second


def run(
    source: str | None,
    *,
    server: str | None,
    key: str | None,
    model: str | None,
    language: str | None,
    profile: str | None,
) -> None:
    """Print what is said in the file ``source``, or into the microphone until Ctrl-C.

    Raises:
        ReflectorError: the settings, the model, the language, the source or the server do not work.
    """
    if server and profile:
        raise InvalidRequest(
            "A server has a profile of its own: leave out --profile, "
            "or --server (REFLECTOR_SERVER)."
        )
    path = _checked(source)
    if server:
        wanted = {"model": model, "language": language}
        listening = _listen_elsewhere(server, key, wanted, path)
    else:
        listening = _listen_here(path, model, language, profile)
    logs.discard()
    interrupt.raise_error()
    asyncio.run(listening)


def _checked(source: str | None) -> Path | None:
    """The file, or None for the microphone, which works."""
    if source is None:
        _check_microphone()
        return None
    path = Path(source)
    if not path.is_file():
        raise InvalidRequest(f"There is no file '{source}'.")
    return path


def _blocks(path: Path | None) -> AsyncGenerator[Samples, None]:
    return _microphone() if path is None else _paced(path)


async def _listen_elsewhere(
    server: str, key: str | None, wanted: Mapping[str, object], path: Path | None
) -> None:
    async with session(server, key, wanted) as remote:
        await _print(remote.heard(), remote.speak(_blocks(path)))


def _listen_here(
    path: Path | None, model: str | None, language: str | None, profile: str | None
) -> Coroutine[None, None, None]:
    """Check everything that can be checked; what is returned listens then."""
    settings = load_settings(profile=profile)
    service = Service(settings)
    parameters = TranscriptionParameters.of(model=model, language=language)
    recogniser = service.resolve(parameters.model, parameters.options())
    if service.may_download(recogniser):
        download(recogniser, settings)
    request = service.request(recogniser, parameters, priority=Priority.LIVE)

    async def listen() -> None:
        try:
            await service.loaded(recogniser)
            utterance = service.recordings.live(request).utterance()
            async with aclosing(utterance):
                await _print(utterance, _speak(utterance, _blocks(path)))
        finally:
            await service.close()

    return listen()


async def _speak(utterance: LiveUtterance, blocks: AsyncGenerator[Samples, None]) -> None:
    try:
        async with aclosing(blocks):
            async for block in blocks:
                utterance.push(block)
    finally:
        utterance.finish()  # even if the source fails


async def _print(heard: AsyncIterable[Heard], speaking: Coroutine[None, None, None]) -> None:
    """Write what is ``heard`` while somebody speaks. If ``speaking`` fails, so does this."""
    terminal = sys.stdout.isatty()
    captions = Captions(shutil.get_terminal_size().columns) if terminal else Lines()

    async def write() -> None:
        async for one in heard:
            _write(captions.of(one))

    tasks = [asyncio.create_task(write()), asyncio.create_task(speaking)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
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
