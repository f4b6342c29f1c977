"""``reflector-gpu jobs`` against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import accumulate, takewhile
from pathlib import Path

import pytest

from reflector_gpu.cli import job_client
from reflector_gpu.cli import jobs as jobs_module
from reflector_gpu.cli.job_client import JobClient
from reflector_gpu.errors import InvalidRequest
from tests.cli.conftest import Typed
from tests.cli.stub import Reply, StubServer
from tests.live import LiveServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(model="scripted", data_dir=tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.fixture
def jobs(server: LiveServer, typed: Typed) -> Callable[..., str]:
    """Runs a command, which has to succeed; what it writes."""

    def run(command: str, *arguments: object) -> str:
        done = typed("jobs", command, *arguments, "--server", server.url)
        assert done.status == 0, done
        return done.out

    return run


@pytest.fixture
def folder(tmp_path: Path, standup: Path) -> Path:
    """Two recordings, one of them further down, and a file that is none."""
    found = tmp_path / "meetings"
    (found / "november").mkdir(parents=True)
    audio = standup.read_bytes()
    (found / "monday.wav").write_bytes(audio[:300_044])
    (found / "november" / "tuesday.WAV").write_bytes(audio[:200_044])
    (found / "notes.txt").write_text("no recording")
    return found


def test_a_folder_is_transcribed_and_again_without_any_work(
    jobs: Callable[..., str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_client, "_PIECE", 100_000)
    output = tmp_path / "texts"
    command = (folder, "--wait", "-f", "srt", "-o", output)
    jobs("submit", *command)
    written = {path.name: path.read_text() for path in output.iterdir()}
    assert set(written) == {"monday.srt", "tuesday.srt"}
    assert all(text.startswith("1\n00:00:0") for text in written.values())
    before = jobs("list", "--json")
    (output / "monday.srt").unlink()
    jobs("submit", *command)
    assert {path.name: path.read_text() for path in output.iterdir()} == written
    assert jobs("list", "--json") == before


def test_one_recording_goes_through_all_commands(
    jobs: Callable[..., str], folder: Path, tmp_path: Path
) -> None:
    named = ("--metadata", "meeting=board", "--metadata", "note=a=b")
    options = ("--diarize", "--language", "en", *named)
    job_id, label = jobs("submit", folder / "monday.wav", *options).split()
    assert label == "monday.wav"
    assert jobs("submit", folder / "monday.wav", *options, "-q") == f"{job_id}\n"
    assert jobs("watch", job_id) == f"{job_id}  completed\n"
    assert job_id in jobs("list", "--status", "completed")
    assert "monday.wav" in jobs("list")
    shown = next(job for job in json.loads(jobs("list", "--json")) if job["id"] == job_id)
    assert shown["metadata"] == {"meeting": "board", "note": "a=b"}
    found = json.loads(jobs("result", job_id))
    assert found["words"][0]["speaker"] == "A"
    assert jobs("result", job_id, "-f", "vtt").startswith("WEBVTT")
    assert jobs("result", job_id, "-f", "text").startswith("A: ")
    assert jobs("result", job_id, "-o", tmp_path / "monday.srt") == ""
    assert (tmp_path / "monday.srt").read_text().startswith("1\n00:00:0")
    assert json.loads(jobs("result", job_id, "--partial")) == found
    assert jobs("cancel", job_id) == f"{job_id}  completed\n"
    assert jobs("delete", job_id) == f"{job_id}  deleted\n"
    assert job_id not in jobs("list")


def test_texts_say_who_speaks(jobs: Callable[..., str], folder: Path, tmp_path: Path) -> None:
    recording = folder / "monday.wav"
    spoken = jobs("submit", recording, "--diarize", "--wait", "-q")
    assert spoken.startswith("A: ")
    jobs("submit", recording, "--channels", "separate", "-w", "-f", "txt", "-o", tmp_path / "a")
    assert (tmp_path / "a").read_text().startswith("A: ")


def test_what_a_result_may_lack_is_told_on_standard_error(
    typed: Typed, server: LiveServer, folder: Path, tmp_path: Path
) -> None:
    recording = folder / "monday.wav"  # it was cut off: its header promises more
    command = ("submit", recording, "-w", "-f", "srt", "-o", tmp_path / "a.srt", "-q")
    done = typed("jobs", *command, "--server", server.url)
    assert done.status == 0
    assert "monday.wav: warning: the file is truncated: it holds" in done.err
    job_id = json.loads(typed("jobs", "list", "--json", "--server", server.url).out)[0]["id"]
    for form in ("text", "vtt", "json"):
        shown = typed("jobs", "result", job_id, "-f", form, "--server", server.url)
        assert f"{job_id}: warning: the file is truncated" in shown.err
        assert "warning" not in shown.out or form == "json"


def test_known_voices_have_their_names(
    jobs: Callable[..., str], typed: Typed, folder: Path, tmp_path: Path
) -> None:
    recording, voice = folder / "monday.wav", tmp_path / "anna.wav"
    voice.write_bytes(recording.read_bytes()[:160_044])
    said = jobs("submit", recording, "--speaker", f"Anna={voice}", "--strict", "--wait", "-q")
    assert "Anna: " in said
    refused = typed("jobs", "submit", recording, "--speaker", "Anna")
    assert (refused.status, "NAME=FILE" in refused.err) == (2, True)


def test_the_format_is_that_of_the_file_or_of_the_kind(
    jobs: Callable[..., str], folder: Path, tmp_path: Path
) -> None:
    recording, file = folder / "monday.wav", tmp_path / "monday.vtt"
    jobs("submit", recording, "--wait", "-o", file)
    assert file.read_text().startswith("WEBVTT")
    turns = json.loads(jobs("submit", recording, "--kind", "diarization", "--wait"))
    assert turns["segments"]


def test_results_that_there_will_not_be_are_refused(
    typed: Typed, server: LiveServer, folder: Path, tmp_path: Path
) -> None:
    def refused(*arguments: object) -> str:
        done = typed("jobs", "submit", *arguments, "--server", server.url)
        assert done.status == 2
        return done.err

    recording = folder / "monday.wav"
    assert "--wait" in refused(recording, "-o", tmp_path / "a.srt")
    assert "--wait" in refused(recording, "-f", "srt")
    assert "ends in .docx" in refused(recording, "-w", "-o", tmp_path / "a.docx")
    assert "json and rttm" in refused(recording, "-w", "--kind", "diarization", "-f", "srt")
    (folder / "november" / "monday.wav").write_bytes(recording.read_bytes())
    twice = refused(folder, "-w", "-o", tmp_path / "texts")
    assert str(recording) in twice
    assert str(folder / "november" / "monday.wav") in twice


def test_channels_are_speakers(jobs: Callable[..., str], folder: Path) -> None:
    job_id, _ = jobs("submit", folder / "monday.wav", "--channels", "separate").split()
    jobs("watch", job_id)
    assert json.loads(jobs("result", job_id))["words"][0]["speaker"] == "A"


def test_what_fails_is_told_and_does_not_stop_the_others(
    typed: Typed, server: LiveServer, folder: Path, tmp_path: Path
) -> None:
    (folder / "broken.mp3").write_bytes(b"no audio at all")
    output = tmp_path / "texts"
    done = typed("jobs", "submit", folder, "-w", "-o", output, "--server", server.url)
    assert done.status == 1
    assert "broken.mp3: " in done.err
    listed = typed("jobs", "list", "--status", "failed", "--server", server.url).out
    reason = done.err.partition("broken.mp3: ")[2].strip()
    assert [line for line in listed.splitlines() if line.endswith(f"broken.mp3  {reason}")]
    assert not [line for line in listed.splitlines() if line.endswith(" ")]
    assert {path.name for path in output.iterdir()} == {"monday.txt", "tuesday.txt"}


def test_what_cannot_be_submitted(typed: Typed, server: LiveServer, tmp_path: Path) -> None:
    where = ("--server", server.url)
    assert "no such file" in typed("jobs", "submit", tmp_path / "absent.wav", *where).err
    assert "no recordings" in typed("jobs", "submit", tmp_path, *where).err
    nameless = typed("jobs", "submit", tmp_path, "--metadata", "=board", *where)
    assert "'=board' is not NAME=TEXT" in nameless.err


@pytest.mark.parametrize("command", ["watch", "result", "cancel", "delete"])
def test_there_is_no_such_job(typed: Typed, server: LiveServer, command: str) -> None:
    done = typed("jobs", command, "job_1", "--server", server.url)
    assert done.status == 1
    assert "no such job" in done.err


def test_a_server_that_needs_a_key_says_how_to_pass_one(typed: Typed, tmp_path: Path) -> None:
    with LiveServer(model="scripted", apikey="secret", data_dir=tmp_path) as server:
        done = typed("jobs", "list", "--server", server.url)
    assert done.err.count("--key or REFLECTOR_APIKEY") == done.err.count("--key") == 1


LOOKS = {
    status: Reply(json.dumps({"id": "job_1", "status": status, "progress": {}}))
    for status in ("running", "completed")
}
AWAY = Reply(status=503)


def test_a_job_is_waited_for_while_its_server_starts_anew(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "_FIRST_PAUSE", 0.01)
    with StubServer([LOOKS["running"], AWAY, AWAY, LOOKS["completed"]]) as stub:
        done = typed("jobs", "watch", "job_1", "--server", stub.url)
    assert (done.status, done.out) == (0, "job_1  completed\n")


def test_a_server_that_does_not_come_back_is_given_up(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(jobs_module, "_MOST_UNANSWERED", 2)
    with StubServer([LOOKS["running"], AWAY, AWAY]) as stub:
        done = typed("jobs", "watch", "job_1", "--server", stub.url)
    assert done.status == 1
    assert "503" in done.err


def test_a_file_that_becomes_shorter_while_it_is_sent(server: LiveServer, tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    path.write_bytes(bytes(1000))
    with JobClient(server.url, None) as client, pytest.raises(InvalidRequest, match="shorter"):
        client.upload(path, lambda _: path.open("wb").close())


def test_a_job_that_takes_long_is_looked_at_seldom() -> None:
    looks = list(takewhile(lambda moment: moment < 120, accumulate(jobs_module._pauses())))
    assert len(looks) < 30
    assert looks[0] <= 0.5
