"""What Reflector shows its users after it asked this service: readable text, with speakers.

The requests are replayed; where ``TEST_CHECKOUT`` names a checkout of Reflector that has its own
``server/.venv`` (or ``TEST_CHECKOUT_PYTHON`` a Python with what it imports), its own processors
run besides. The server has a key of which Reflector knows in one place, as in its compose file,
and trusts the network that Reflector is in.
"""

from __future__ import annotations

import os
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.hosts import Answer, AudioHost
from tests.api.receivers import Receiver, Reception
from tests.api.reflector import TRANSCRIBE_KEY, Checkout, Reflector, Replayed
from tests.api.support import encoded
from tests.audio.decode.test_padding import read, tone
from tests.engines.tongues import TRANSLATION, sentences
from tests.live import LiveServer

pytestmark = pytest.mark.slow

SECONDS = 18.2
"""Three turns of two voices."""

TURNS = [
    " hello everyone david would you like to go first",
    " yes thank you yesterday i finished the new search page and all of the tests are passing"
    " today i am going to fix the problem with the password",
    " is that the problem that the customer reported last week",
]
"""What is said in them, as PocketSphinx spells it."""


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with LiveServer(
        model="sphinx",
        apikey=TRANSCRIBE_KEY,
        trusted_networks="127.0.0.1",
        url_allow="127.0.0.1",
        translator=str(TRANSLATION),
    ) as server:
        yield server


CHECKOUT = os.environ.get("TEST_CHECKOUT")


@pytest.fixture(params=["replayed", "unmodified"] if CHECKOUT else ["replayed"])
def reflector(request: pytest.FixtureRequest, server: LiveServer) -> Reflector:
    if request.param == "replayed":
        return Replayed(server.url)
    return Checkout(server.url, Path(str(CHECKOUT)))


@pytest.fixture(scope="module")
def piece(standup: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The beginning of the sample meeting."""
    path = tmp_path_factory.mktemp("reflector") / "piece.wav"
    with wave.open(str(standup)) as whole, wave.open(str(path), "wb") as part:
        part.setparams(whole.getparams())
        part.writeframes(whole.readframes(int(SECONDS * whole.getframerate())))
    return path


@pytest.fixture
def url(host: AudioHost, piece: Path) -> str:
    """Where the storage has it: signed, and without an extension."""
    return host.put("/meeting?X-Amz-Signature=0123&x=a%2Fb", Answer(piece.read_bytes()))


def test_live_text_is_readable(reflector: Reflector, piece: Path) -> None:
    assert reflector.live(piece, "en") == "".join(TURNS)


def test_a_file_has_text_and_speakers(reflector: Reflector, url: str) -> None:
    said = reflector.meeting(url, "en")
    assert [one.text for one in said] == TURNS
    first, second, third = (one.speaker for one in said)
    assert first == third != second


def test_speakers_are_assigned_to_the_words_of_a_live_call(reflector: Reflector, url: str) -> None:
    said = reflector.topics(url, [(" Hello.", 0.5, 1.02), (" Yes.", 5.0, 5.4), (" Is", 15.2, 15.4)])
    assert [one.text for one in said] == [" Hello.", " Yes.", " Is"]
    assert said[0].speaker == said[2].speaker != said[1].speaker


@pytest.mark.parametrize("target", ["fr", "es"])
def test_translation_needs_no_key(reflector: Reflector, target: str) -> None:
    known = sentences()[0]
    assert reflector.translate(known["en"], "en", target) == known[target]


def test_a_track_is_padded(reflector: Reflector, host: AudioHost) -> None:
    track = host.put("/track.webm", Answer(encoded(tone(3), "webm", "libopus")))
    with Receiver() as receiver:
        size = reflector.pad(track, receiver.at("/padded.webm?signature=1", Reception()), 2.5)
        (put,) = receiver.got("/padded.webm")
    assert size == len(put.body)
    padded = read(put.body)
    assert (padded.codec, padded.rate, padded.layout) == ("opus", 48_000, "stereo")
    assert padded.seconds == pytest.approx(5.5, abs=0.1)
    assert padded.loudness(0, 2.4) < 0.01 < padded.loudness(2.6, 5.4)
