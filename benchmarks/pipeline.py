"""Everything around the engine, which costs nothing here, against the reference design."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from benchmarks.audio import meeting, wav, write_mp3
from benchmarks.figures import Figure
from benchmarks.host import serving
from benchmarks.plain import running
from benchmarks.server import Server
from benchmarks.stages import shares_of_recording
from benchmarks.timing import times_as_fast
from reflector_gpu.types import SAMPLE_RATE

MINUTES = 60
CLIENTS = 8
CLIP_SECONDS = 11
CLIPS = 10 * CLIENTS
FILE_TARGET, CLIPS_TARGET = 4.0, 3.0
MUSIC_TARGET = 1.0  # there is more to decode, the same for both

Do = Callable[[], object]


def run() -> list[Figure]:
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as host,
        running("benchmarks.naive") as (port, _),
        Server(model="scripted", url_allow="127.0.0.1") as server,
        server.client() as ours,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=None) as theirs,
    ):
        path = Path(folder) / "long.mp3"
        write_mp3(path, meeting(), MINUTES)
        music = Path(folder) / "music.mp3"
        write_mp3(music, meeting(), MINUTES, rate=44_100, layout="stereo", bit_rate=128_000)
        return [
            _long(ours, theirs, f"{host}/{path.name}", "16 kHz", FILE_TARGET),
            _long(ours, theirs, f"{host}/{music.name}", "44.1 kHz stereo", MUSIC_TARGET),
            _clips(ours, theirs, wav(meeting()[: CLIP_SECONDS * SAMPLE_RATE])),
            *(
                Figure(f"share of the file's CPU: {stage}", share, "", True)
                for stage, share in shares_of_recording(path).items()
            ),
        ]


def _long(ours: httpx.Client, theirs: httpx.Client, url: str, what: str, target: float) -> Figure:
    def asking(client: httpx.Client) -> Do:
        def ask() -> None:
            answer = client.post(
                "/v1/audio/transcriptions-from-url", json={"audio_file_url": url}
            ).raise_for_status()
            assert len(answer.json()["words"]) > MINUTES * 60

        return ask

    ratio, spread = times_as_fast(asking(ours), asking(theirs), rounds=3)
    detail = f"{MINUTES} minutes of mp3 by URL, {spread}"
    return _figure(f"pipeline alone / naive, one file of {what}", ratio, target, detail)


def _clips(ours: httpx.Client, theirs: httpx.Client, clip: bytes) -> Figure:
    with ThreadPoolExecutor(CLIENTS) as threads:

        def asking(client: httpx.Client) -> Do:
            def one(_: int) -> None:
                answer = client.post("/v1/audio/transcriptions", files={"file": ("a.wav", clip)})
                assert answer.raise_for_status().json()["words"]

            return lambda: list(threads.map(one, range(CLIPS)))

        ratio, spread = times_as_fast(asking(ours), asking(theirs))
    detail = f"{CLIENTS} clients, {CLIPS} clips of {CLIP_SECONDS} s, {spread}"
    return _figure("pipeline alone / naive, clips", ratio, CLIPS_TARGET, detail)


def _figure(name: str, ratio: float, target: float, detail: str) -> Figure:
    return Figure(name, ratio, f">= {target:g}", ratio >= target, detail)
