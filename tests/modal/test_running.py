"""What is Modal's own about a deployed app: containers that die, fan out, share and fail."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import modal
import modal.exception
import numpy as np
import pytest

from reflector_gpu.audio.vad import WINDOW, VoiceActivity
from reflector_gpu.decoding.threads import ThreadDecoders
from reflector_gpu.deploy.modal_app import Container as AnyContainer
from reflector_gpu.deploy.modal_app import Deployment
from reflector_gpu.deploy.on_modal import images
from reflector_gpu.engines.recognition.scripted import ScriptedRecogniser
from reflector_gpu.errors import ConfigurationError
from reflector_gpu.service import service
from reflector_gpu.types import SAMPLE_RATE, Samples
from tests.api.hosts import Answer, AudioHost
from tests.api.support import ask_url, error_of, upload, wav
from tests.engines.tiny import PARAKEET, WHISPER, clips
from tests.live import KEY
from tests.modal.conftest import SCRIPTED, Running, declared, dies, running
from tests.modal.containers import Container
from tests.modal.deployments import FILES

pytestmark = pytest.mark.slow

FAN_OUT = 4
MINUTES = 30


@pytest.fixture
def unharmed(transcriber: Running) -> Iterator[None]:
    """No fault is left for the next test."""
    yield
    for containers in transcriber.containers.values():
        containers.faults.clear()


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("error", [modal.exception.InternalFailure, RuntimeError, OSError])
def test_a_call_whose_container_dies_is_made_again(
    transcriber: Running, clip: bytes, text: str, error: type[Exception]
) -> None:
    def once(_: Container) -> None:
        raise error("it died")

    transcriber.containers["Live"].faults.append(once)
    assert upload(transcriber.server, clip).json()["text"] == text
    assert not transcriber.containers["Live"].faults


@pytest.mark.usefixtures("unharmed")
def test_a_container_that_dies_on_a_long_file_costs_none_of_its_words(
    transcriber: Running, pauses: bytes, host: AudioHost
) -> None:
    url = host.put("/pauses", Answer(pauses))
    whole = ask_url(transcriber.server, url).json()
    transcriber.containers["File"].faults.append(dies)
    assert ask_url(transcriber.server, url).json() == whole


@pytest.mark.usefixtures("unharmed")
def test_a_chunk_that_kills_every_container_is_an_engines_failure(
    transcriber: Running, clip: bytes, text: str
) -> None:
    transcriber.containers["Live"].faults += [dies] * 4
    error = error_of(upload(transcriber.server, clip), 503)
    assert error["code"] == "engine_failed"
    assert upload(transcriber.server, clip).json()["text"] == text


def test_uploads_and_urls_go_to_their_own_containers(
    transcriber: Running, clip: bytes, host: AudioHost
) -> None:
    def calls() -> list[int]:
        return [transcriber.containers[name].done for name in ("Live", "File")]

    live, file = calls()
    upload(transcriber.server, clip)
    assert calls() == [live + 1, file]
    ask_url(transcriber.server, host.put("/clip", Answer(clip)))
    assert calls() == [live + 1, file + 1]


# A long file over several containers


def meeting() -> tuple[bytes, int]:
    """Half an hour of noises with silences between them, and how many there are."""
    random = np.random.default_rng(7)
    parts: list[Samples] = []
    while sum(map(len, parts)) < MINUTES * 60 * SAMPLE_RATE:
        parts.append(random.uniform(-0.3, 0.3, 10 * SAMPLE_RATE).astype(np.float32))
        parts.append(np.zeros(3 * SAMPLE_RATE, np.float32))
    return wav(*parts), len(parts) // 2


def loud(_: VoiceActivity, samples: Samples) -> Samples:
    """A detector that costs nothing."""
    peaks: Samples = np.abs(samples.reshape(-1, WINDOW)).max(axis=1)
    return (peaks > 0.1).astype(np.float32)


class Shift:
    """Containers that take as long as their audio, without anybody's having to wait for it.

    While all of them work, the one that would be done first is; once all work has been given out,
    all are.
    """

    def __init__(self, containers: int, chunks: int) -> None:
        self._containers = containers
        self._left = chunks
        self._done: dict[int, float] = {}  # by container: when it is done with what it has
        self._working: set[int] = set()
        self._changed = threading.Condition()

    def __call__(self, container: Container, chunks: Sequence[object]) -> None:
        key = id(container)
        with self._changed:
            samples = sum(chunk.size for chunk in chunks if isinstance(chunk, np.ndarray))
            self._done[key] = self._done.get(key, 0.0) + samples / SAMPLE_RATE
            self._left -= len(chunks)
            self._working.add(key)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._may_go(key), 60)
            self._working.remove(key)

    def _may_go(self, key: int) -> bool:
        if self._left <= 0:
            return True
        first = min(self._working, key=lambda one: self._done[one])
        return len(self._working) == self._containers and key == first


def test_a_long_file_is_spread_evenly_and_reads_as_from_one_container(
    host: AudioHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "decoders", lambda _: ThreadDecoders())  # where it can be replaced
    monkeypatch.setattr(VoiceActivity, "probabilities", loud)
    content, chunks = meeting()
    url = host.put("/meeting.wav", Answer(content))
    with running("reflector_transcriber", {**SCRIPTED, "REFLECTOR_MODAL_FILE_FAN_OUT": "1"}) as one:
        alone = ask_url(one.server, url).json()
        assert len(one.containers["File"].running) == 1
    fan_out = {"REFLECTOR_MODAL_FILE_FAN_OUT": str(FAN_OUT)}
    with running("reflector_transcriber", {**SCRIPTED, **fan_out}) as several:
        several.containers["File"].during = Shift(FAN_OUT, chunks)
        spread = ask_url(several.server, url).json()
        shares = [sum(map(len, c.calls)) for c in several.containers["File"].running]
    assert len(alone["words"]) > 3000
    assert spread == alone
    assert sum(shares) == chunks
    assert len(shares) == FAN_OUT
    batch = 16  # of the scripted recogniser
    assert max(shares) - min(shares) <= batch


# Engines that really listen, each in its app


@pytest.fixture(scope="module")
def parakeet() -> Iterator[Running]:
    environment = {
        "REFLECTOR_MODAL_PARAKEET_MODEL": "tiny",
        "REFLECTOR_MODEL_PATHS": f'{{"tiny": "{PARAKEET}"}}',
        "REFLECTOR_MODAL_LIVE_GPU": "none",
        "REFLECTOR_MODAL_FILE_GPU": "none",
    }
    with running("reflector_transcriber_parakeet", environment) as found:
        yield found


@pytest.fixture(scope="module")
def whisper() -> Iterator[Running]:
    environment = {
        "REFLECTOR_MODAL_TRANSCRIBER_MODEL": "tiny-whisper",
        "REFLECTOR_MODEL_PATHS": f'{{"tiny-whisper": "{WHISPER}"}}',
        "REFLECTOR_MODAL_LIVE_GPU": "none",
        "REFLECTOR_MODAL_FILE_GPU": "none",
    }
    with running("reflector_transcriber", environment) as found:
        yield found


@pytest.mark.parametrize("app", ["parakeet", "whisper"])
def test_each_transcriber_hears_the_words(app: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(app).server
    for clip in clips("en")[:3]:
        answer = upload(server, clip.path.read_bytes(), data={"language": "en"})
        assert answer.json()["text"] == clip.text


def test_an_english_model_refuses_french(parakeet: Running) -> None:
    content = clips("en")[0].path.read_bytes()
    error = error_of(upload(parakeet.server, content, data={"language": "fr"}), 400)
    assert "only supports English" in error["message"]


def test_whisper_translates_speech(whisper: Running) -> None:
    content = clips("es")[0].path.read_bytes()
    answer = upload(whisper.server, content, route="/v1/audio/translations")
    assert answer.json()["text"] == "hello team"


def test_a_model_that_is_not_deployed_is_not_installed(transcriber: Running, clip: bytes) -> None:
    error = error_of(upload(transcriber.server, clip, data={"model": "large-v2"}), 503)
    assert error["code"] == "model_not_installed"


# Weights


def test_a_container_fetches_the_weights_that_nobody_has_pulled(hub: object) -> None:
    environment = {"REFLECTOR_MODAL_TRANSCRIBER_MODEL": "tiny", "REFLECTOR_MODAL_LIVE_GPU": "none"}
    clip = clips("en")[0]
    with running("reflector_transcriber", environment) as app:
        answer = upload(app.server, clip.path.read_bytes(), data={"language": "en"})
    assert answer.json()["text"] == clip.text


def test_what_keeps_an_engine_from_loading_is_the_answer_to_every_call(
    tmp_path: Path, clip: bytes
) -> None:
    environment = {
        "REFLECTOR_MODAL_TRANSCRIBER_MODEL": "tiny",
        "REFLECTOR_MODAL_LIVE_GPU": "none",
        "HF_HUB_CACHE": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
    }
    with running("reflector_transcriber", environment) as app:
        for _ in range(2):
            error = error_of(upload(app.server, clip), 503)
            assert error["code"] == "model_not_installed"


def test_the_server_asks_for_no_container_before_there_is_work(
    transcriber: Running, host: AudioHost
) -> None:
    with running("reflector_transcriber", SCRIPTED) as app:
        with app.server.client() as client:
            assert client.get("/health/ready").status_code == 200
        assert not app.containers["Live"].running
        assert not app.containers["File"].running


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_container_needs_the_package_and_no_checkout(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modal, "is_local", lambda: False)
    monkeypatch.setattr(images, "ROOT", tmp_path)
    with declared(file.stem, {}) as module:
        assert module.deployment.name == file.stem.replace("_", "-")


def test_it_does_not_serve_without_a_key() -> None:
    """Whoever knows an address on Modal can reach it."""
    with (
        declared("reflector_transcriber", {**SCRIPTED, "REFLECTOR_APIKEY": ""}) as module,
        pytest.raises(ConfigurationError, match="REFLECTOR_APIKEY"),
    ):
        module.web.local()


def test_the_other_name_of_the_key_counts_too(clip: bytes) -> None:
    keys = {"REFLECTOR_APIKEY": "", "REFLECTOR_GPU_APIKEY": KEY}
    with running("reflector_transcriber", {**SCRIPTED, **keys}) as app:
        assert upload(app.server, clip).status_code == 200


def test_a_container_fetches_at_a_call_what_it_could_not_at_its_start(
    tmp_path: Path, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    pulls: list[Deployment] = []

    def pull(deployment: Deployment) -> None:
        pulls.append(deployment)
        if len(pulls) < 5:  # of a start, of the stand-in's empty call, and of the first one
            raise RuntimeError("the volume is in use")
        weights = deployment.model.weights
        assert weights
        folder = tmp_path / f"models--{weights.repository.replace('/', '--')}"
        shutil.copytree(WHISPER, folder / "snapshots" / "1")
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("1")

    monkeypatch.setattr(Deployment, "pull", pull)
    environment = {"REFLECTOR_MODAL_TRANSCRIBER_MODEL": "tiny", "REFLECTOR_MODAL_LIVE_GPU": "none"}
    with running("reflector_transcriber", environment) as app:
        error = error_of(upload(app.server, clip), 503)
        assert error["code"] == "model_not_installed"
        assert upload(app.server, clip).status_code == 200
        assert len(app.containers["Live"].running) == 1
    assert len(pulls) == 5


# What a snapshot holds


def container(module: ModuleType) -> AnyContainer:
    """One of the class ``Live``, as it is before Modal has called any of its hooks."""

    class Live(AnyContainer):
        group = module.deployment.live

    return Live()


def hook(container: AnyContainer, name: str) -> None:
    call: Callable[[], None] = getattr(container, name)  # which Modal's types hide
    call()


def test_a_failure_to_load_is_in_no_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [RuntimeError("out of memory")]
    load = ScriptedRecogniser.load

    def fails_once(engine: ScriptedRecogniser) -> None:
        if failures:
            raise failures.pop()
        load(engine)

    monkeypatch.setattr(ScriptedRecogniser, "load", fails_once)
    # Only an engine that needs no GPU is loaded before the snapshot is made.
    with declared("reflector_transcriber", {**SCRIPTED, "REFLECTOR_MODAL_LIVE_GPU": "none"}) as app:
        found = container(app)
        hook(found, "prepare")
        assert not failures
        assert not found.host.failed
        hook(found, "load")
        assert not found.host.failed
        hook(found, "close")


def test_a_container_that_did_not_start_can_be_closed() -> None:
    with declared("reflector_transcriber", SCRIPTED) as app:
        hook(container(app), "close")


# Calls that Modal refuses


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("error", [modal.exception.AuthError, modal.exception.NotFoundError])
def test_a_call_that_is_refused_for_good_is_not_made_again(
    transcriber: Running, clip: bytes, error: type[Exception]
) -> None:
    def refused(_: Container) -> None:
        raise error("no")

    live = transcriber.containers["Live"]
    live.faults += [refused, refused]
    assert error_of(upload(transcriber.server, clip), 503)["code"] == "engine_failed"
    assert len(live.faults) == 1
