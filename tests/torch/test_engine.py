"""The engine on PyTorch hears what the engine on ONNX Runtime hears: tokens, words and times."""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from reflector_gpu.engines.recognition.base import Recogniser
from reflector_gpu.engines.recognition.parakeet.models import TORCH_SPEC, local
from reflector_gpu.engines.recognition.parakeet.onnx import ParakeetRecogniser
from reflector_gpu.engines.recognition.parakeet.pytorch.budget import Budget
from reflector_gpu.engines.recognition.parakeet.pytorch.engine import Loaded, TorchParakeet
from reflector_gpu.engines.recognition.parakeet.pytorch.network import Network
from reflector_gpu.engines.recognition.parakeet.pytorch.running import Work
from reflector_gpu.engines.recognition.parakeet.pytorch.weights import load
from reflector_gpu.errors import EngineFailed, ModelNotInstalled
from reflector_gpu.runtime.pool import Pool
from reflector_gpu.runtime.pool_options import PoolOptions
from reflector_gpu.runtime.recipe import Recipe
from reflector_gpu.types import Priority, Recognition, Samples, TranscribeOptions
from tests.engines.recognition.parakeet.test_phrases import FRIDAY, MISHEARD
from tests.engines.sounds import STEADY
from tests.engines.tiny import PARAKEET, Clip, text_of
from tests.live import LiveServer
from tests.torch.hearing import Heard, hear
from tests.torch.hearing import heard as as_heard

ENGLISH = TranscribeOptions(language="en")


def loaded(folder: Path) -> TorchParakeet:
    engine = TorchParakeet(str(folder))
    engine.load()
    return engine


@pytest.fixture(scope="module")
def ours(tiny: Path) -> TorchParakeet:
    return loaded(tiny)


@pytest.mark.parametrize("form", ["transformers", "nemo"])
def test_a_batch_of_many_lengths_is_heard_as_on_onnx_runtime(
    folders: dict[str, Path], form: str, spoken: list[Clip], expected: list[Heard]
) -> None:
    assert hear(loaded(folders[form]), [clip.samples for clip in spoken]) == expected


def test_a_chunk_alone_is_heard_as_in_a_batch(
    ours: Recogniser, spoken: list[Clip], expected: list[Heard]
) -> None:
    for clip, known in list(zip(spoken, expected, strict=True))[::4]:
        assert hear(ours, [clip.samples]) == [known]


def test_expected_phrases_help_as_on_onnx_runtime(ours: Recogniser, tiny: Path) -> None:
    batch = [case.samples for case in MISHEARD]
    words = (FRIDAY.hotword,)
    other = ParakeetRecogniser(str(PARAKEET))
    other.load()
    assert hear(ours, batch) == hear(other, batch)
    found = hear(ours, batch, hotwords=words)
    assert found == hear(other, batch, hotwords=words)
    assert " ".join(word for word, *_ in found[MISHEARD.index(FRIDAY)]) == FRIDAY.said
    fixed = TorchParakeet(str(tiny))
    network = Network(load(tiny), "cpu", 31.0, lambda work: work)
    fixed._loaded = Loaded.of(network, Budget(network, 1000.0))
    assert hear(fixed, batch, hotwords=words) == found


def test_no_speech_gives_no_words(ours: Recogniser) -> None:
    assert hear(ours, list(STEADY.values())) == [[]] * len(STEADY)


@pytest.fixture
def pool(tiny: Path) -> Iterator[Pool[Samples, Recognition]]:
    """The engine in a process of its own, behind the queue."""
    model = local("tiny", tiny)
    assert model is not None
    recipe = Recipe(
        model.engine,
        "transcribe",
        model.spec.batching.samples,
        arguments=model.arguments,
        environment={"OMP_NUM_THREADS": "1"},
        prepares=model.spec.prepares,
    )
    options = PoolOptions(max_batch=4, interruptible=False)
    pool: Pool[Samples, Recognition] = Pool("tiny", [recipe], options)
    pool.start()
    pool.wait_ready(60)
    yield pool
    pool.close()


def test_what_others_have_cancelled_changes_nothing(
    pool: Pool[Samples, Recognition], spoken: list[Clip], expected: list[Heard]
) -> None:
    async def run() -> dict[int, Heard]:
        works = [
            asyncio.create_task(
                pool.submit(clip.samples, ENGLISH, cost=2.0, priority=Priority.FILE)
            )
            for clip in spoken
        ]
        await asyncio.sleep(0)  # all are in the queue
        for work in works[::3]:
            work.cancel()
        kept = [index for index in range(len(works)) if index % 3]
        found = await asyncio.gather(*(works[index] for index in kept))
        return {i: as_heard(result) for i, result in zip(kept, found, strict=True)}

    found = asyncio.run(run())
    assert found == {index: expected[index] for index in found}
    assert len(found) > len(spoken) / 2


def test_a_server_hears_with_a_model_from_a_folder(tiny: Path, spoken: list[Clip]) -> None:
    folders = {"mine": str(tiny)}
    server = LiveServer(model_paths=folders, model="mine", apikey="test-key", workers=1)
    with server, spoken[0].path.open("rb") as file:
        answer = server.openai().audio.transcriptions.create(file=file, model="mine")
    assert answer.text == spoken[0].text


@pytest.mark.parametrize("most", [1.0, 5.0, 1000.0])
def test_packs_of_any_size_give_the_same(tiny: Path, spoken: list[Clip], most: float) -> None:
    own = Network(load(tiny), "cpu", 31.0)
    batch = [clip.samples for clip in spoken]
    whole = own.decoded(own.prepare(batch, 1000.0))
    for one, other in zip(own.decoded(own.prepare(batch, most)), whole, strict=True):
        assert one.tokens.tolist() == other.tokens.tolist()
        assert one.frames.tolist() == other.frames.tolist()
        assert one.durations.tolist() == other.durations.tolist()


def test_what_cuda_graphs_would_run_gives_the_same(tiny: Path, spoken: list[Clip]) -> None:
    """On tensors of fixed shapes, over several batches, with nothing recorded."""
    plain = Network(load(tiny), "cpu", 31.0)
    runs: list[int] = []

    def record(work: Work) -> Work:
        def run() -> None:
            runs.append(1)
            work()

        return run

    fixed = Network(load(tiny), "cpu", 31.0, record)
    batches = [spoken[:1], spoken[:5], spoken[5:8], spoken[8:9], spoken]
    for clips in batches:
        batch = [clip.samples for clip in clips]
        found, known = (own.decoded(own.prepare(batch, 20.0)) for own in (fixed, plain))
        for one, other in zip(found, known, strict=True):
            assert one.tokens.tolist() == other.tokens.tolist()
            assert one.frames.tolist() == other.frames.tolist()
            assert one.durations.tolist() == other.durations.tolist()
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    assert len(runs) > 3 * len(batches)


@pytest.mark.parametrize("seconds", [0.3, 4.99, 5.0, 5.01, 9.0])
def test_the_length_of_a_graphs_bucket_changes_nothing(
    tiny: Path, spoken: list[Clip], seconds: float
) -> None:
    """Rows and frames that fill a bucket, are just too many for it, or leave most of it empty."""
    plain, fixed = Network(load(tiny), "cpu", 31.0), Network(load(tiny), "cpu", 31.0, lambda w: w)
    longest = np.resize(spoken[3].samples, round(seconds * 16_000))
    for rows in (1, 2, 3):
        batch = [longest, *(clip.samples[: len(longest)] for clip in spoken[: rows - 1])]
        found, known = (one.decoded(one.prepare(batch, 1000.0)) for one in (fixed, plain))
        for ours, theirs in zip(found, known, strict=True):
            assert ours.tokens.tolist() == theirs.tokens.tolist()
            assert ours.frames.tolist() == theirs.frames.tolist()


def test_a_batch_that_was_prepared_before_another_ran_gives_the_same(
    ours: TorchParakeet, spoken: list[Clip], expected: list[Heard]
) -> None:
    """As a worker does it: the next is prepared, and the words of the last are not read yet."""
    batches = [[clip.samples for clip in spoken[n : n + 4]] for n in (0, 4, 8)]
    works = [ours.prepare(batch, ENGLISH) for batch in batches]
    results = [work() for work in works]
    for number, found in reversed(list(enumerate(results))):
        start = 4 * number
        assert [as_heard(one) for one in found] == expected[start : start + 4]


def run_short_of_memory(engine: TorchParakeet) -> Budget:
    """Have the device fail on packs of more than two chunks."""
    assert engine._loaded is not None
    own, budget = engine._loaded.network, engine._loaded.budget
    encode = own.encoder

    def short_of_memory(
        features: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if len(features) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 bytes")
        return encode(features, mask)

    own.encoder = short_of_memory
    return budget


def test_where_memory_runs_out_packs_are_halved_once(tiny: Path, spoken: list[Clip]) -> None:
    engine = loaded(tiny)
    budget = run_short_of_memory(engine)
    clip = max(spoken, key=lambda clip: len(clip.samples))
    batch = [np.resize(clip.samples, 16_000 * 25)] * 4
    budget.seconds = 100.0  # four of 25 s
    assert len(hear(engine, batch)) == 4
    assert budget.seconds == 50.0
    with pytest.raises(EngineFailed):
        engine.transcribe([clip.samples] * 3, ENGLISH)
    assert budget.seconds == 50.0


def test_a_batch_that_was_prepared_before_the_packs_were_halved_does_not_halve_them_again(
    tiny: Path, spoken: list[Clip]
) -> None:
    engine = loaded(tiny)
    budget = run_short_of_memory(engine)
    budget.seconds = 100.0
    clip = np.resize(spoken[0].samples, 16_000 * 25)
    works = [engine.prepare([clip] * 4, ENGLISH) for _ in range(2)]
    assert [len(list(work())) for work in works] == [4, 4]
    assert budget.seconds == 50.0


def test_what_a_failed_pack_took_is_free_before_the_second_try(tiny: Path) -> None:
    """An error that is kept would keep the tensors of its frames, and the second try would fail."""
    engine = loaded(tiny)
    assert engine._loaded is not None
    network, budget = engine._loaded.network, engine._loaded.budget
    budget.seconds = 100.0
    encode, taken = network.encoder, []

    def short_of_memory(
        features: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if len(features) > 2:
            large = torch.zeros(1000)
            taken.append(weakref.ref(large))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 bytes")
        assert taken[0]() is None
        return encode(features, mask)

    network.encoder = short_of_memory
    assert len(hear(engine, [np.zeros(16_000 * 25, np.float32)] * 4)) == 4
    assert len(taken) == 1


def test_a_batch_too_large_for_the_device_fails_as_a_whole_and_its_halves_do_not(
    tiny: Path, spoken: list[Clip]
) -> None:
    ours = loaded(tiny)
    run_short_of_memory(ours)
    same = [spoken[0].samples] * 4
    with pytest.raises(EngineFailed, match=r"batch of 4.*memory"):
        ours.transcribe(same, ENGLISH)
    for result in ours.transcribe(same[:2], ENGLISH):
        assert isinstance(result, Recognition)
        assert text_of(result) == spoken[0].text


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_named(tiny: Path) -> None:
    with pytest.raises(ModelNotInstalled, match=r"'cuda'.*driver"):
        TorchParakeet(str(tiny), device="cuda").load()


def test_without_pytorch_the_extra_is_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in sys.modules if ".parakeet.pytorch.network" in one]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModelNotInstalled, match=r"reflector-gpu\[torch\]"):
        TorchParakeet(str(tiny)).load()


@pytest.mark.parametrize("damaged", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_damaged_file_is_no_crash(tiny: Path, tmp_path: Path, damaged: str) -> None:
    for file in tiny.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / damaged).write_bytes((tiny / damaged).read_bytes()[:100])
    with pytest.raises(ModelNotInstalled, match="pull the model again"):
        TorchParakeet(str(tmp_path)).load()


def test_a_damaged_archive_is_no_crash(folders: dict[str, Path], tmp_path: Path) -> None:
    (archive,) = folders["nemo"].glob("*.nemo")
    (tmp_path / archive.name).write_bytes(archive.read_bytes()[:50_000])
    with pytest.raises(ModelNotInstalled, match="pull the model again"):
        TorchParakeet(str(tmp_path)).load()


def test_folders_are_told_apart(folders: dict[str, Path], tmp_path: Path) -> None:
    for folder in folders.values():
        model = local("mine", folder)
        assert model is not None
        assert model.extra == "torch"
        assert model.spec == TORCH_SPEC
    assert local("mine", tmp_path) is None
    (tmp_path / "config.json").write_text('{"model_type": "whisper"}')
    assert local("mine", tmp_path) is None


def test_loud_and_quiet_rows_do_not_touch_each_other(ours: Recogniser, spoken: list[Clip]) -> None:
    clip = spoken[0].samples
    loud = np.concatenate([clip, clip]) * 20
    assert hear(ours, [clip, loud])[0] == hear(ours, [clip])[0]


def broken_by(engine: TorchParakeet, reason: str) -> None:
    def encode(features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        raise torch.AcceleratorError(f"CUDA error: {reason}\nCompile with …")

    assert engine._loaded is not None
    engine._loaded.network.encoder = encode


def test_a_card_that_fails_for_good_ends_the_process(
    tiny: Path, spoken: list[Clip], caplog: pytest.LogCaptureFixture
) -> None:
    """Every later call would fail, and in a new process the next may not."""
    engine = loaded(tiny)
    broken_by(engine, "an illegal memory access was encountered")
    with pytest.raises(SystemExit):
        engine.transcribe([spoken[0].samples], ENGLISH)
    assert "an illegal memory access" in caplog.text


def test_memory_that_runs_out_elsewhere_is_no_end(tiny: Path, spoken: list[Clip]) -> None:
    engine = loaded(tiny)
    broken_by(engine, "out of memory")
    with pytest.raises(EngineFailed, match="memory"):
        engine.transcribe([spoken[0].samples], ENGLISH)
