"""Live requests while a long file is being transcribed, against the same with an idle server."""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.audio import utterances, write_mp3
from benchmarks.figures import Figure
from benchmarks.host import serving
from benchmarks.server import Server

FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
MODELS = {name: str(FIXTURES / name) for name in ("parakeet-tiny", "whisper-tiny")}
MINUTES = 60
CLIENTS = 8
SECONDS = 5
PIECE_SECONDS = 28
LIMIT = 3.0


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as url:
        write_mp3(Path(folder) / "long.mp3", utterances(), MINUTES)
        write_mp3(Path(folder) / "short.mp3", utterances(), SECONDS / 60)
        write_mp3(Path(folder) / "piece.mp3", utterances(), PIECE_SECONDS / 60)
        clip, piece = ((Path(folder) / f"{name}.mp3").read_bytes() for name in ("short", "piece"))
        return [figure for model in MODELS for figure in _figures(model, url, clip, piece)]


def _figures(model: str, url: str, clip: bytes, piece: bytes) -> Iterator[Figure]:
    with (
        Server(model=model, model_paths=json.dumps(MODELS), url_allow="127.0.0.1") as server,
        server.client() as client,
    ):

        def ask(upload: bytes = clip) -> float:
            began = time.perf_counter()
            client.post("/v1/audio/transcriptions", files={"file": upload}).raise_for_status()
            return time.perf_counter() - began

        for upload in (clip, piece):
            ask(upload)
        idle = {name: way(ask) for name, way in _WAYS.items()}
        whole = statistics.median(ask(piece) for _ in range(CLIENTS))
        with _transcribing(server, f"{url}/long.mp3"):
            loaded = {name: way(ask) for name, way in _WAYS.items()}
    for name in _WAYS:
        worst, alone = max(loaded[name]), statistics.median(idle[name])
        ratio = worst / alone
        detail = (
            f"{CLIENTS} of {SECONDS} s, {alone * 1e3:.0f} ms idle, "
            f"usually {statistics.median(loaded[name]) * 1e3:.0f} ms, worst {worst * 1e3:.0f} ms"
        )
        title = f"{model}: live {name} beside {MINUTES} min / alone"
        yield Figure(title, ratio, f"<= {LIMIT:g}", ratio <= LIMIT, detail)
    alone = statistics.median(idle["one by one"])
    yield Figure(
        f"{model}: behind a whole piece of the file / alone",
        (whole + alone) / alone,
        "",
        True,
        f"{whole * 1e3:.0f} ms for a request of {PIECE_SECONDS} s, idle, and then its own time",
    )


def _one_by_one(ask: Callable[[], float]) -> list[float]:
    return [ask() for _ in range(CLIENTS)]


def _together(ask: Callable[[], float]) -> list[float]:
    with ThreadPoolExecutor(CLIENTS) as threads:
        return [each.result() for each in [threads.submit(ask) for _ in range(CLIENTS)]]


_WAYS = {"one by one": _one_by_one, "together": _together}


@contextmanager
def _transcribing(server: Server, url: str) -> Iterator[None]:
    """A long file in work, from its first text on."""
    begun, enough = threading.Event(), threading.Event()

    def stream() -> None:
        request = {"audio_file_url": url, "stream": True}
        with (
            server.client() as client,
            client.stream("POST", "/v1/audio/transcriptions-from-url", json=request) as answer,
        ):
            for _ in answer.raise_for_status().iter_lines():
                begun.set()
                if enough.is_set():
                    return
        raise RuntimeError("the long file was done before the measurement was")

    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(stream)
        while not begun.wait(0.1):
            if working.done():
                working.result()
        try:
            yield
        finally:
            enough.set()
        working.result()
