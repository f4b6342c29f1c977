"""``transcribe``: the same text from here and from a server, in every format."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from reflector_gpu.cli.output_formats import OutputFormat
from reflector_gpu.settings import variables
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.hosts import Answer, AudioHost
from tests.audio.media import Heard, with_tracks
from tests.cli.conftest import Typed
from tests.cli.program import environment, run
from tests.cli.transcribe.places import LOCAL, comparable
from tests.engines.tongues import TRANSLATION
from tests.live import KEY, LiveServer


@pytest.mark.slow
def test_the_program_writes_a_table_of_words(clip: Path) -> None:
    # A server's limits on its clients are none for one's own files.
    settings = environment(MODEL="scripted", MAX_AUDIO_SECONDS="1", MAX_UPLOAD_MB="0.001")
    done = run("transcribe", str(clip), "--format", "words", env=settings)
    assert (done.returncode, done.stderr) == (0, "")
    heading, first, *_ = done.stdout.splitlines()
    assert heading.split() == ["start", "end", "word"]
    start, end, word = first.split()
    assert float(start) < float(end)
    assert word.isalpha()


@pytest.mark.parametrize(
    "form", [OutputFormat.JSON, pytest.param(OutputFormat.VERBOSE_JSON, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(("spaces", "joint"), [("leading", ""), ("none", " ")])
def test_words_of_json_have_the_spaces_that_are_set(
    form: OutputFormat,
    spaces: str,
    joint: str,
    typed: Typed,
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REFLECTOR_WORD_SPACES", spaces)
    answer = json.loads(typed("transcribe", clip, "--format", form, *LOCAL).out)
    assert joint.join(word["word"] for word in answer["words"]).strip() == answer["text"]


@pytest.mark.parametrize(
    "form", [OutputFormat.VERBOSE_JSON, pytest.param(OutputFormat.SRT, marks=pytest.mark.slow)]
)
def test_a_server_writes_what_this_machine_writes(
    form: OutputFormat, typed: Typed, clip: Path, scripted: LiveServer
) -> None:
    here = typed("transcribe", clip, "--format", form, *LOCAL)
    there = typed("transcribe", clip, "--format", form, "--server", scripted.url, "--key", KEY)
    assert here.status == there.status == 0
    assert comparable(here.out) == comparable(there.out)
    assert here.out.endswith("\n")


@pytest.mark.parametrize("variable", variables("apikey"))
def test_the_key_may_come_from_the_environment_and_the_address_end_in_v1(
    typed: Typed,
    clip: Path,
    scripted: LiveServer,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    monkeypatch.setenv(variable, f"{KEY},another")
    assert typed("transcribe", clip, "--server", f"{scripted.url}/v1/").status == 0


def test_urls_are_fetched_here_or_by_the_server(
    typed: Typed, clip: Path, scripted: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with AudioHost() as host:
        url = host.put("/meetings/clip.wav?signature=secret", Answer(clip.read_bytes()))
        refused = typed("transcribe", url, *LOCAL)
        assert refused.status == 1
        assert "not a public one" in refused.err
        assert "secret" not in refused.err
        assert host.asked == []
        monkeypatch.setenv("REFLECTOR_URL_ALLOW", "127.0.0.1")
        here = typed("transcribe", url, "--format", "json", *LOCAL)
        there = typed("transcribe", url, "-f", "json", "--server", scripted.url, "--key", KEY)
    assert here == there
    assert json.loads(here.out)["filename"] == "clip.wav"


def test_all_recordings_in_a_folder(typed: Typed, clip: Path, tmp_path: Path) -> None:
    below = tmp_path / "november"
    below.mkdir()
    (below / "tuesday.WAV").write_bytes(clip.read_bytes())
    (tmp_path / "monday.wav").write_bytes(clip.read_bytes())
    (tmp_path / "notes.txt").write_text("no recording")
    texts = tmp_path / "texts"
    done = typed("transcribe", tmp_path, "-f", "srt", "-o", texts, *LOCAL)
    assert done.status == 0, done
    assert {path.name for path in texts.iterdir()} == {"monday.srt", "tuesday.srt"}


def test_one_bad_input_does_not_stop_the_others(typed: Typed, clip: Path, tmp_path: Path) -> None:
    text = tmp_path / "notes.mp3"
    text.write_text("no audio")
    empty = tmp_path / "empty.wav"
    empty.touch()
    bare = tmp_path / "bare"
    bare.mkdir()
    done = typed("transcribe", tmp_path / "gone.wav", clip, text, bare, empty, clip, *LOCAL)
    assert done.status == 1
    gone, notes, folder, nothing = done.err.splitlines()
    assert gone == f"{tmp_path}/gone.wav: no such file"
    assert notes.startswith(f"{text}: The file is not audio")
    assert folder == f"{bare}: is a folder without recordings"
    assert nothing == f"{empty}: is empty"
    first, second = done.out.removeprefix("==> clip.wav <==\n").split("==> clip.wav <==\n")
    assert first == second
    assert first.endswith("\n\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nonesuch"], "'nonesuch' does not exist"),
        (["--model", "scripted", "--language", "Latin"], "does not know the language 'Latin'"),
        (["--server", "http://a.host.invalid", "--profile", "gpu"], "--profile"),
        (["--server", "a.host.invalid"], "http://"),
        (["--server", "http://a.host.invalid", "--key", "two\nlines"], "not valid"),
    ],
)
def test_what_cannot_work_ends_at_once(
    typed: Typed, clip: Path, arguments: list[str], message: str
) -> None:
    done = typed("transcribe", clip, *arguments)
    assert done.status == 2
    assert message in done.err


def test_a_servers_refusal_is_told_in_its_words(
    typed: Typed, clip: Path, scripted: LiveServer
) -> None:
    wrong = typed("transcribe", clip, "--server", scripted.url, "--key", "wrong")
    assert wrong == (
        1,
        "",
        f"{clip}: Incorrect API key provided. Pass the server's key with --key or "
        "REFLECTOR_APIKEY.\n",
    )
    unknown = typed("transcribe", clip, "--server", scripted.url, "--key", KEY, "--model", "no")
    assert unknown.status == 1
    assert "'no' does not exist" in unknown.err


@pytest.mark.slow
@pytest.mark.parametrize("where", ["here", "server"])
def test_a_recording_comes_through_a_pipe(where: str, clip: Path, scripted: LiveServer) -> None:
    there = ["--server", scripted.url, "--key", KEY] if where == "server" else [*LOCAL]
    with subprocess.Popen(["cat", str(clip)], stdout=subprocess.PIPE) as cat:
        piped = run("transcribe", "-", "-f", "json", *there, stdin=cat.stdout)
    assert (piped.returncode, piped.stderr) == (0, "")
    answer = json.loads(piped.stdout)
    assert answer["filename"] == "stdin"
    assert f"{answer['text']}\n" == run("transcribe", str(clip), *there).stdout


def test_standard_input_is_read_once(typed: Typed) -> None:
    done = typed("transcribe", "-", "-", *LOCAL)
    assert (done.status, done.err) == (2, "Error: Standard input (-) can be read once.\n")


@pytest.mark.parametrize("where", ["here", "server"])
@pytest.mark.slow
def test_what_is_said_is_translated(
    where: str, typed: Typed, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFLECTOR_TRANSLATOR", str(TRANSLATION))
    with ExitStack() as running:
        there: tuple[str, ...] = LOCAL
        if where == "server":
            server = LiveServer(model="scripted", translator=(str(TRANSLATION),))
            there = ("--server", running.enter_context(server).url)
        plain = json.loads(typed("transcribe", clip, "-f", "json", *there).out)
        french = ("--language", "en", "--translate-to", "fr", *there)
        both = json.loads(typed("transcribe", clip, "-f", "json", *french).out)
        text = typed("transcribe", clip, *french)
        cues = typed("transcribe", clip, "-f", "srt", *french)
        told = typed("transcribe", clip, "-f", "txt", "--speakers", 1, *french)
        unknown = typed("transcribe", clip, "--translate-to", "tlh", *there)
    assert both["text"] == plain["text"] != both["translation"]
    assert text == (0, f"{both['translation']}\n", "")
    lines = [line for line in cues.out.splitlines() if line and not line[0].isdigit()]
    assert " ".join(lines) == both["translation"]
    assert told.out.startswith("A: ")
    assert unknown.status in (1, 2)
    assert "'tlh'" in unknown.err


@pytest.fixture(scope="module")
def film(speech: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two audio tracks in two languages."""
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    one, other = speech[: 6 * SAMPLE_RATE], speech[6 * SAMPLE_RATE : 8 * SAMPLE_RATE]
    path.write_bytes(with_tracks("matroska", "libopus", Heard(one, "eng"), Heard(other, "ger")))
    return path


def _workers(server: LiveServer) -> list[tuple[str, ...]]:
    return [LOCAL, ("--server", server.url, "--key", KEY)]


@pytest.mark.slow
def test_tracks_that_are_left_out_are_told_wherever_the_work_is_done(
    typed: Typed, film: Path, scripted: LiveServer
) -> None:
    for where in _workers(scripted):
        done = typed("transcribe", film, *where)
        assert "audio track 0 eng was taken; --track picks another: 1 ger" in done.err
        picked = typed("transcribe", film, "--track", "de", "--format", "verbose_json", *where)
        assert picked.err == ""
        assert json.loads(picked.out)["duration"] == pytest.approx(2, abs=1)
        refused = typed("transcribe", film, "--track", "5", *where)
        assert refused.status == 1
        assert "has no audio track '5'" in refused.err


def test_a_truncated_file_is_told_on_standard_error(
    typed: Typed, clip: Path, scripted: LiveServer, tmp_path: Path
) -> None:
    half = tmp_path / "half.wav"
    data = clip.read_bytes()
    half.write_bytes(data[: len(data) // 2])
    for where in _workers(scripted):
        done = typed("transcribe", half, *where)
        assert done.status == 0
        assert "half.wav: warning: the file is truncated: it holds" in done.err
