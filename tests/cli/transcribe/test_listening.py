"""`reflector-gpu listen`: words while a file plays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from reflector_gpu.cli.remote_listening import session
from reflector_gpu.errors import UpstreamFailed
from reflector_gpu.live.base import Heard
from reflector_gpu.types import SAMPLE_RATE, Samples, join_words
from tests.cli.program import environment, run
from tests.engines.tiny import PARAKEET, clips
from tests.live import KEY, LiveServer
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

ENVIRONMENT = environment(MODEL="tiny", MODEL_PATHS=json.dumps({"tiny": str(PARAKEET)}))


def test_a_file_is_heard_at_its_own_pace() -> None:
    clip = min(clips("en"), key=lambda one: len(one.samples))
    done = run("listen", str(clip.path), env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{clip.text}\n"


def test_what_cannot_be_heard_is_told_in_a_line(tmp_path: Path) -> None:
    nothing = run("listen", str(tmp_path / "nothing.wav"), env=ENVIRONMENT)
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "There is no file" in nothing.stderr
    text = tmp_path / "text.wav"
    text.write_text("This is no audio at all. " * 99)
    broken = run("listen", str(text), env=ENVIRONMENT)
    assert (broken.returncode, broken.stdout) == (2, "")
    assert broken.stderr.startswith("Error: ")
    assert broken.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with LiveServer(
        model="tiny", model_paths={"tiny": str(PARAKEET)}, apikey=KEY, workers=1
    ) as server:
        yield server


def test_a_server_hears_it_as_well(server: LiveServer) -> None:
    clip = min(clips("en"), key=lambda one: len(one.samples))
    done = run("listen", str(clip.path), "--server", server.url, "--key", f"{KEY},other")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{clip.text}\n"


def heard(server: LiveServer, *parts: Samples, **transcription: object) -> list[Heard]:
    """What a session gives while ``parts`` are said into it, each once there are tentative words
    of what was said before."""
    found: list[Heard] = []

    async def listen() -> None:
        news = asyncio.Event()

        async def spoken() -> AsyncGenerator[Samples, None]:
            for number, samples in enumerate(parts):
                if number:
                    await news.wait()
                for begin in range(0, len(samples), SAMPLE_RATE // 10):
                    yield samples[begin : begin + SAMPLE_RATE // 10]

        async with session(server.url, KEY, transcription) as remote:
            speaking = asyncio.create_task(remote.speak(spoken()))
            async for one in remote.heard():
                found.append(one)
                if one.tentative:
                    news.set()
            await speaking

    asyncio.run(asyncio.wait_for(listen(), PATIENCE_SECONDS))
    return found


def test_tentative_words_are_heard_before_they_are_settled(server: LiveServer) -> None:
    clip = max(clips("en"), key=lambda one: len(one.samples))
    middle = len(clip.samples) * 2 // 3
    found = heard(server, clip.samples[:middle], clip.samples[middle:])
    assert join_words(word for one in found for word in one.settled) == clip.text
    tentative = next(one.tentative for one in found if one.tentative)
    assert join_words(tentative).split()[0] in clip.text


def test_silence_is_no_words(server: LiveServer) -> None:
    assert heard(server, clips("en")[0].samples[:0]) == []


def test_a_server_says_why_it_refuses(server: LiveServer) -> None:
    with pytest.raises(UpstreamFailed, match="no-such-model"):
        heard(server, clips("en")[0].samples, model="no-such-model")
    file = str(clips("en")[0].path)
    wrong = run("listen", file, "--server", server.url, "--key", "wrong")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "key" in wrong.stderr
    nobody = run("listen", file, "--server", "http://127.0.0.1:1")
    assert "cannot be reached" in nobody.stderr
    both = run("listen", file, "--server", server.url, "--profile", "cpu")
    assert "--profile" in both.stderr
