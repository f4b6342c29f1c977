"""What the measurement of any server finds, against servers of this project."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks import remote
from tests.engines.tiny import PARAKEET, clips
from tests.live import KEY, LiveServer

CLIPS = clips("en")[:4]
MANY = 20  # more than the server below takes at once

Run = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings that the tiny models know, and what is said in them."""
    lines = ["file\ttext"]
    for clip in CLIPS:
        shutil.copy(clip.path, tmp_path)
        lines.append(f"{clip.path.name}\t{clip.text.title()}!")
    (tmp_path / remote.REFERENCES).write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.fixture
def run(
    scripted: LiveServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Measure the server at ``url`` with ``folder``; the answer is the table."""
    monkeypatch.delenv(remote.KEY, raising=False)

    def measure(
        *options: str, url: str = scripted.url, folder: Path = folder, model: str = "scripted"
    ) -> str:
        command = ["remote", url, str(folder), "--model", model, *options]
        monkeypatch.setattr("sys.argv", command)
        remote.main()
        return capsys.readouterr().out

    return measure


@pytest.fixture(scope="module")
def parakeet() -> Iterator[LiveServer]:
    """Hears real words; it takes two requests at once."""
    with LiveServer(
        model="parakeet", model_paths={"parakeet": str(PARAKEET)}, apikey=KEY, live_requests=2
    ) as server:
        yield server


def value(table: str, figure: str) -> str:
    """What the ``table`` says of the ``figure``."""
    (found,) = re.findall(rf"^│ {re.escape(figure)} +│ (.*?) +│$", table, re.MULTILINE)
    assert isinstance(found, str)
    return found


def spread(text: str) -> tuple[float, float, float]:
    """Lowest, median, highest."""
    median, lowest, highest = (float(number) for number in re.findall(r"[\d.]+", text))
    return lowest, median, highest


def test_what_was_heard_is_scored(run: Run, parakeet: LiveServer) -> None:
    table = run("--key", KEY, "--clients", "2", url=parakeet.url, model="parakeet")
    assert float(value(table, "WER, %")) < 5
    assert value(table, "errors") == "0 of 12"
    assert value(table, "recordings") == "4"
    audio = sum(len(clip.samples) for clip in CLIPS) / 16_000
    assert float(value(table, "audio seconds")) == pytest.approx(audio, abs=0.1)
    for figure in ("RTFx", "wall seconds"):
        lowest, median, highest = spread(value(table, figure))
        assert 0 < lowest <= median <= highest
    assert 0 < float(value(table, "median request, s")) <= float(value(table, "95th percentile, s"))


def test_wrong_words_are_counted(run: Run) -> None:
    table = run("--key", KEY, "--rounds", "1")
    assert float(value(table, "WER, %")) > 50  # made-up words
    assert float(value(table, "RTFx")) > 0
    assert value(table, "errors") == "0 of 4"


def test_without_references_all_audio_is_sent_and_nothing_scored(run: Run, folder: Path) -> None:
    (folder / remote.REFERENCES).unlink()
    (folder / "notes.txt").write_text("no audio")
    table = run("--key", KEY, "--rounds", "1")
    assert value(table, "recordings") == "4"
    assert value(table, "WER, %") == "-"


def test_the_key_may_be_in_the_environment_and_the_path_in_the_url(
    run: Run, scripted: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(remote.KEY, f"{KEY}, another")
    table = run("--rounds", "1", url=f"{scripted.url}/v1/")
    assert value(table, "errors") == "0 of 4"


def test_requests_that_fail_are_told_and_end_in_failure(
    run: Run, parakeet: LiveServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{number}.wav" for number in range(MANY)]
    for name in names:
        shutil.copy(CLIPS[0].path, folder / name)
    lines = ["file\ttext", *(f"{name}\t{CLIPS[0].text}" for name in names)]
    (folder / remote.REFERENCES).write_text("\n".join(lines))
    with pytest.raises(SystemExit) as ended:
        run(
            *("--key", KEY, "--rounds", "1", "--clients", str(MANY)),
            url=parakeet.url,
            model="parakeet",
        )
    assert ended.value.code == 1
    printed = capsys.readouterr()
    failed = int(value(printed.out, "errors").removesuffix(f" of {MANY}"))
    assert 0 < failed < MANY
    assert float(value(printed.out, "WER, %")) >= 100 * failed / MANY
    assert "times: 429 " in printed.err


@pytest.mark.parametrize("options", [[], ["--key", "wrong"]])
def test_a_key_that_is_refused_is_named(run: Run, options: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"wants another key: pass --key or set REFLECTOR_APIKEY"):
        run(*options)


def test_a_model_that_is_not_there_is_named(run: Run) -> None:
    with pytest.raises(SystemExit, match=r"gives no transcription: 404 .*no-such-model"):
        run("--key", KEY, model="no-such-model")


def test_a_server_that_is_not_there_is_named(run: Run) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(SystemExit, match=rf"{url} gives no transcription: .*refused"):
            run(url=url)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "http://127.0.0.1:port"])
def test_what_is_no_url_is_refused(run: Run, url: str) -> None:
    with pytest.raises(SystemExit, match=r"not valid|gives no transcription: .*protocol"):
        run(url=url)


def test_a_folder_without_recordings_is_refused(run: Run, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    with pytest.raises(SystemExit, match=r"empty: No such file or directory"):
        run(folder=empty)
    empty.mkdir()
    with pytest.raises(SystemExit, match=r"empty holds no recordings"):
        run(folder=empty)
    (empty / remote.REFERENCES).write_text("file\ttext\n")
    with pytest.raises(SystemExit, match=r"empty holds no recordings"):
        run(folder=empty)


def test_a_list_that_does_not_fit_is_refused(run: Run, folder: Path) -> None:
    references = folder / remote.REFERENCES
    references.write_text("file,text\na.wav,hello\n")
    with pytest.raises(SystemExit, match=r"references\.tsv: every line"):
        run()
    references.write_text("file\ttext\nlost.wav\thello\n")
    with pytest.raises(SystemExit, match=r"lost\.wav: No such file"):
        run()
    (folder / "lost.wav").write_text("no audio")
    with pytest.raises(SystemExit, match=r"lost\.wav: .*audio"):
        run()


@pytest.mark.parametrize("option", ["--clients", "--rounds"])
def test_at_least_one_is_wanted(run: Run, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(option, "0")
    assert "at least 1" in capsys.readouterr().err


def test_the_texts_of_a_library_are_scored_alike(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {clip.path.name: f" {clip.text.upper()}. " for clip in CLIPS}
    remote.score(folder, texts, 0.5)
    table = capsys.readouterr().out
    audio = sum(len(clip.samples) for clip in CLIPS) / 16_000
    assert value(table, "WER, %") == "0.00"
    assert float(value(table, "RTFx")) == pytest.approx(audio / 0.5, abs=0.1)
    assert value(table, "median request, s") == "-"


def test_a_recording_that_a_library_left_out_counts_as_wrong(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *others = CLIPS
    with pytest.raises(SystemExit, match="1"):
        remote.score(folder, {clip.path.name: clip.text for clip in others}, 0.5)
    total = sum(len(clip.words) for clip in CLIPS)
    table = capsys.readouterr().out
    assert value(table, "WER, %") == f"{100 * len(first.words) / total:.2f}"
    assert value(table, "errors") == "1 of 4"


def test_texts_of_other_files_are_refused(folder: Path) -> None:
    with pytest.raises(SystemExit, match=r"No recordings of .*: other\.wav"):
        remote.score(folder, {"other.wav": "hello"}, 0.5)
