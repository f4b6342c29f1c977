"""What servers do on bad days, and what comes back from their events."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reflector_gpu.cli.output import render
from reflector_gpu.cli.output_formats import OutputFormat
from tests.cli.conftest import Typed
from tests.cli.stub import SPOKEN, TOLD_APART, Reply, StubServer, stream


@pytest.mark.parametrize("form", OutputFormat)
def test_events_hold_the_whole_transcript(typed: Typed, clip: Path, form: OutputFormat) -> None:
    with StubServer([Reply(stream())]) as server:
        done = typed("transcribe", clip, "--server", server.url, "--format", form)
    assert done.out == render(SPOKEN, form, "clip.wav")


def test_a_variable_names_the_server(typed: Typed, clip: Path) -> None:
    with StubServer([Reply(stream())]) as server:
        done = typed("transcribe", clip, "--format", "json", SERVER=server.url)
        assert done.out == render(SPOKEN, OutputFormat.JSON, "clip.wav")
        both = typed("transcribe", clip, "--profile", "cpu", SERVER=server.url)
    assert (both.status, "REFLECTOR_SERVER" in both.err) == (2, True)
    assert typed("config", "--json", SERVER=server.url).status == 0, "it is no unknown setting"


def test_each_speaker_has_all_of_the_own_words(typed: Typed, clip: Path) -> None:
    with StubServer([Reply(stream(TOLD_APART))]) as server:
        done = typed("transcribe", clip, "--server", server.url, "--diarize", "--format", "json")
    told = json.loads(done.out)["words"]
    assert [(word["word"].strip(), word["speaker"]) for word in told] == [
        ("OK", "A"),
        ("?", "A"),
        ("Yes", "B"),
    ]


def test_the_request_says_what_was_asked_for(typed: Typed, clip: Path) -> None:
    wishes = ["--model", "m", "--language", "German", "--prompt", "Hm.", "--hotwords", "a,b"]
    wishes += ["--strict"]
    with StubServer([Reply(stream()), Reply(stream())]) as server:
        where = ("--server", server.url, "--key", "clé,second")
        assert typed("transcribe", clip, *where, *wishes).status == 0
        assert typed("transcribe", "https://a.host.invalid/x", *where, *wishes).status == 0
    (path, headers, form), (url_path, _, body) = server.asked
    assert path == "/v1/audio/transcriptions"
    assert headers["Authorization"].encode("latin-1") == "Bearer clé".encode()
    assert clip.read_bytes() in form
    assert b'filename="clip.wav"' in form
    assert url_path == "/v1/audio/transcriptions-from-url"
    sent = json.loads(body)
    assert sent.pop("audio_file_url") == "https://a.host.invalid/x"
    assert sent == {
        "model": "m",
        "language": "German",
        "prompt": "Hm.",
        "hotwords": "a,b",
        "strict": "true",
        "stream": "true",
    }
    for name, value in sent.items():
        assert f'name="{name}"\r\n\r\n{value}\r\n'.encode() in form


def test_a_busy_server_is_asked_again(typed: Typed, clip: Path) -> None:
    busy = [Reply(status=status, headers={"Retry-After": "0"}) for status in (429, 503)]
    with StubServer([*busy, Reply(stream())]) as server:
        assert typed("transcribe", clip, "--server", server.url).status == 0
    assert [clip.read_bytes() in body for _, _, body in server.asked] == [True] * 3


def test_but_not_for_ever_and_not_when_it_wants_an_hour(typed: Typed, clip: Path) -> None:
    error = json.dumps({"error": {"message": "Come back later."}})
    for wait, asked in (("0", 5), ("3600", 1)):
        reply = Reply(error, 503, {"Retry-After": wait})
        with StubServer([reply] * 10) as server:
            done = typed("transcribe", clip, "--server", server.url)
        assert done == (1, "", f"{clip}: Come back later.\n")
        assert len(server.asked) == asked


BROKEN = {
    "ends early": Reply(stream().partition('data: {"type":"transcript.text.done"')[0]),
    "makes no sense": Reply("data: {oops\n\n"),
    "no reflector-gpu": Reply('data: {"type":"transcript.text.delta","delta":"Hello"}\n\n'),
    "is it a reflector-gpu?": Reply("<h1>Not here</h1>", 404),
    "The engine died.": Reply('data: {"error":{"message":"The engine died."}}\n\ndata: [DONE]\n\n'),
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_answer_is_no_transcript(typed: Typed, clip: Path, message: str) -> None:
    with StubServer([BROKEN[message]]) as server:
        done = typed("transcribe", clip, "--server", server.url)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"{clip}: ")
    assert message in done.err


def test_a_server_that_is_not_there_is_named(typed: Typed, clip: Path) -> None:
    with StubServer() as server:
        url = server.url
    done = typed("transcribe", clip, "--server", url)
    assert done == (
        1,
        "",
        f"{clip}: The server at {url} cannot be reached: Connection refused.\n",
    )
