"""A stream's first words come before the engine has worked on a whole long chunk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.api.hosts import Answer, AudioHost
from tests.api.support import FROM_URL, TRANSCRIPTIONS, Gate, upload
from tests.live import LiveServer

FIRST_CHUNK = 6.0  # seconds, at most, and a little silence before it; the engine takes 30

Way: TypeAlias = Callable[[LiveServer, bytes, AudioHost], AbstractContextManager[Iterator[str]]]


@contextmanager
def uploaded(server: LiveServer, recording: bytes, _: AudioHost) -> Iterator[Iterator[str]]:
    with (
        server.client() as client,
        client.stream(
            "POST", TRANSCRIPTIONS, files={"file": recording}, data={"stream": "true"}
        ) as answer,
    ):
        yield answer.iter_lines()


@contextmanager
def fetched(server: LiveServer, recording: bytes, host: AudioHost) -> Iterator[Iterator[str]]:
    url = host.put("/meeting.wav", Answer(recording))
    with (
        server.client() as client,
        client.stream("POST", FROM_URL, json={"audio_file_url": url, "stream": True}) as answer,
    ):
        yield answer.iter_lines()


def delta_ends(lines: Iterator[str]) -> Iterator[float]:
    """Where in the recording each delta's words end."""
    for line in lines:
        if line.startswith("data: {") and "transcript.text.delta" in line:
            yield json.loads(line.removeprefix("data: "))["end"]


@pytest.mark.parametrize("way", [uploaded, fetched])
def test_words_come_while_the_rest_is_worked_on(
    scripted: LiveServer, gate: Gate, standup: Path, host: AudioHost, way: Way
) -> None:
    gate.free = 1
    with way(scripted, standup.read_bytes(), host) as lines:
        ends = delta_ends(lines)
        first = next(ends)
        assert first <= FIRST_CHUNK + 1
        gate.open()
        later = list(ends)
    assert later == sorted(later)
    assert later[-1] > 60


def test_a_plain_answer_is_made_of_long_chunks(
    scripted: LiveServer, gate: Gate, standup: Path, host: AudioHost
) -> None:
    recording = standup.read_bytes()
    assert upload(scripted, recording).status_code == 200
    plain = gate.arrived
    with uploaded(scripted, recording, host) as lines:
        assert list(delta_ends(lines))
    assert plain < gate.arrived - plain
