"""The package's own functions: recordings to words in a few lines of Python."""

from __future__ import annotations

import asyncio
import io
import signal
import socket
import subprocess
import sys
import threading
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psutil
import pytest

import reflector_gpu
from reflector_gpu import (
    Part,
    Recording,
    ReflectorError,
    Settings,
    Transcriber,
    Transcript,
    load_settings,
    transcribe,
    transcribe_async,
    transcribe_parts,
)
from reflector_gpu.errors import (
    InvalidRequest,
    UndecodableAudio,
    UnknownModel,
    UnsupportedLanguage,
    UrlForbidden,
)
from tests.api.hosts import Answer, AudioHost
from tests.cli.program import environment
from tests.conftest import SAMPLES
from tests.engines.tongues import TRANSLATION

MEETING = SAMPLES / "standup.ogg"


@pytest.fixture
def settings() -> Settings:
    # A server's limits on its clients are none for one's own recordings.
    return load_settings(
        model="scripted",
        translator=(str(TRANSLATION),),
        url_allow=("127.0.0.1",),
        max_audio_seconds=1,
    )


@pytest.fixture
def whole(settings: Settings) -> Transcript:
    return transcribe(MEETING, settings=settings)


def test_three_lines_are_enough_for_words(whole: Transcript) -> None:
    assert len(whole.words) > 100
    assert all(word.start < word.end <= whole.duration for word in whole.words)
    assert whole.text.split() == [word.text for word in whole.words]


@pytest.mark.slow
def test_a_script_needs_no_guard_around_its_lines(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from reflector_gpu import transcribe\n"
        f"transcript = transcribe({str(MEETING)!r}, model='scripted')\n"
        "print(len(transcript.words))\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment()
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 100  # which it says once: no worker has run the script


def test_no_process_outlives_the_call(settings: Settings) -> None:
    before = psutil.Process().children()
    transcribe(MEETING, settings=settings)
    assert [child for child in psutil.Process().children() if child not in before] == []


def test_it_works_where_an_event_loop_runs_as_in_a_notebook(
    settings: Settings, whole: Transcript
) -> None:
    async def cell() -> Transcript:
        return transcribe(MEETING, settings=settings)

    assert asyncio.run(cell()) == whole


def test_in_a_notebook_an_interrupt_ends_the_work(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as host:

        def interrupt() -> None:
            connection, _ = host.accept()
            with connection:
                connection.recv(1)
                signal.pthread_kill(main, signal.SIGINT)
                ended.wait()

        async def cell() -> None:
            patient = settings.model_copy(update={"url_read_seconds": 3600.0})
            transcribe(f"http://127.0.0.1:{host.getsockname()[1]}/a.wav", settings=patient)

        ended, main = threading.Event(), threading.get_ident()
        loop = asyncio.new_event_loop()  # `asyncio.run` has Ctrl-C wait for its own loop
        listener = threading.Thread(target=interrupt)
        listener.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                loop.run_until_complete(cell())
        finally:
            loop.close()
            ended.set()
            listener.join()


@pytest.mark.parametrize("kind", ["text", "bytes", "file", "memory", "url"])
def test_a_recording_is_a_path_a_url_bytes_or_a_file(
    kind: str, settings: Settings, whole: Transcript
) -> None:
    with AudioHost() as host, MEETING.open("rb") as file:
        recordings: dict[str, Recording] = {
            "text": str(MEETING),
            "bytes": MEETING.read_bytes(),
            "file": file,
            "memory": io.BytesIO(MEETING.read_bytes()),
            "url": host.put("/meeting.ogg", Answer(MEETING.read_bytes())),
        }
        assert transcribe(recordings[kind], settings=settings).words == whole.words
        assert not file.closed


def test_what_is_no_recording_is_named(settings: Settings) -> None:
    with MEETING.open() as text, pytest.raises(TypeError, match="binary mode"):
        transcribe(text, settings=settings)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="and not int"):
        transcribe(3, settings=settings)  # type: ignore[arg-type]


@pytest.mark.slow
def test_one_load_of_the_model_serves_recordings_side_by_side(
    settings: Settings, whole: Transcript
) -> None:
    async def several() -> list[Transcript]:
        async with Transcriber(settings) as transcriber:
            return await asyncio.gather(*(transcriber.transcribe(MEETING) for _ in range(4)))

    assert asyncio.run(several()) == [whole] * 4


def test_functions_may_run_side_by_side(settings: Settings, whole: Transcript) -> None:
    async def several() -> list[Transcript]:
        return await asyncio.gather(
            *(transcribe_async(MEETING, settings=settings) for _ in range(2))
        )

    assert asyncio.run(several()) == [whole] * 2


def test_words_come_while_the_rest_is_recognised(settings: Settings, whole: Transcript) -> None:
    async def parts() -> list[Part]:
        async with aclosing(transcribe_parts(MEETING, settings=settings)) as found:
            return [part async for part in found]

    found = asyncio.run(parts())
    assert found[0].segments
    assert found[0].position < whole.duration / 4
    assert found[-1].duration == whole.duration


@pytest.mark.slow
def test_options_say_who_speaks_and_what_it_means_elsewhere(
    settings: Settings, tmp_path: Path
) -> None:
    found = transcribe(MEETING, settings=settings, language="en", translate_to="fr", max_speakers=2)
    assert {word.speaker for word in found.words} == {"A", "B"}
    assert all(segment.translation for segment in found.segments)


def test_a_transcriber_works_inside_of_its_block(settings: Settings) -> None:
    with pytest.raises(RuntimeError, match="async with"):
        asyncio.run(Transcriber(settings).transcribe(MEETING))


def test_a_file_that_is_no_recording_is_told(settings: Settings, tmp_path: Path) -> None:
    notes = tmp_path / "notes.mp3"
    notes.write_text("no audio")
    with pytest.raises(UndecodableAudio):
        transcribe(notes, settings=settings)
    with pytest.raises(FileNotFoundError) as raised:
        transcribe(tmp_path / "gone.mp3", settings=settings)
    assert raised.value.__context__ is None  # nothing else is shown above it
    with pytest.raises(UrlForbidden):
        transcribe("http://10.0.0.1/a.mp3", settings=settings)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"model": "nonesuch"}, UnknownModel, "'nonesuch' does not exist"),
        ({"model": "sphinx", "language": "fr"}, UnsupportedLanguage, "only supports English"),
        ({"num_speakers": 0}, InvalidRequest, "num_speakers"),
        ({"min_speakers": 3, "max_speakers": 2}, InvalidRequest, "min_speakers"),
        ({"prompt": "x" * 10_001}, InvalidRequest, "prompt"),
        ({"temperature": 2.0}, InvalidRequest, "temperature"),
        ({"voices": {"Anna": b"no audio"}}, InvalidRequest, "The voice of 'Anna'"),
        ({"translate_to": "tlh"}, ReflectorError, "tlh"),
        ({"hotword": "a"}, TypeError, "no option 'hotword'"),
    ],
)
def test_an_option_that_does_not_fit_is_told(
    options: Any, error: type[Exception], told: str, settings: Settings
) -> None:
    with pytest.raises(error, match=told):
        transcribe(MEETING, settings=settings, **options)


def test_every_public_name_is_there() -> None:
    assert {name for name in dir(reflector_gpu) if name in reflector_gpu.__all__} == set(
        reflector_gpu.__all__
    )
    for name in reflector_gpu.__all__:
        assert getattr(reflector_gpu, name)
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = reflector_gpu.nonesuch
