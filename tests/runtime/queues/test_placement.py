"""Who runs where, and with how many threads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflector_gpu.errors import ConfigurationError
from reflector_gpu.runtime.placement import layout

CPU = ("cpu",)
CUDA = ("cpu", "cuda")
ALL = ("cpu", "cuda", "tensorrt")


@pytest.mark.parametrize(
    ("wanted", "supported", "single_threaded", "workers", "expected"),
    [
        ("cpu", CPU, True, 0, "cpu with 1 thread, " * 8),
        ("cpu", CPU, True, 2, "cpu with 1 thread, " * 2),
        ("cpu", ALL, False, 0, "cpu with 8 threads"),
        ("cpu", ALL, False, 2, "cpu with 4 threads, " * 2),
        ("cpu", ALL, False, 20, "cpu with 1 thread, " * 20),
        ("cuda", CUDA, False, 0, "cuda with 8 threads"),
        ("cuda:0 cuda:1", CUDA, False, 0, "cuda:0 with 4 threads, cuda:1 with 4 threads"),
        ("cuda:3", CUDA, False, 2, "cuda:3 with 4 threads, " * 2),
        ("tensorrt:1", ALL, False, 0, "tensorrt:1 with 8 threads"),
        ("tensorrt:1", CUDA, False, 0, "cuda:1 with 8 threads"),
        ("cuda:0 cuda:1", CPU, True, 0, "cpu with 1 thread, " * 8),
        ("cuda:0 cpu", CUDA, False, 0, "cuda:0 with 4 threads, cpu with 4 threads"),
    ],
)
def test_layouts(
    wanted: str, supported: tuple[str, ...], single_threaded: bool, workers: int, expected: str
) -> None:
    placed = layout(
        wanted.split(), supported, cores=8, workers=workers, single_threaded=single_threaded
    )
    assert ", ".join(map(str, placed)) == expected.removesuffix(", ")


DEVICES = st.lists(
    st.sampled_from(["cpu", "cuda", "cuda:0", "cuda:1", "tensorrt:1"]), min_size=1, unique=True
)


@given(DEVICES, st.sampled_from([CPU, CUDA, ALL]), st.integers(1, 64), st.integers(0, 9))
def test_threads_do_not_outnumber_the_cores_unless_workers_do(
    wanted: list[str], supported: tuple[str, ...], cores: int, workers: int
) -> None:
    placed = layout(wanted, supported, cores=cores, workers=workers)
    assert placed
    assert sum(each.threads for each in placed) <= max(cores, len(placed))
    assert {each.device for each in placed} <= set(supported)


def test_a_worker_sees_its_threads_and_its_gpu_alone() -> None:
    first, second = layout(["cuda:0", "cuda:1"], CUDA, cores=8)
    assert first.environment["OMP_NUM_THREADS"] == "4"
    assert [each.environment["CUDA_VISIBLE_DEVICES"] for each in (first, second)] == ["0", "1"]
    (anywhere,) = layout(["cuda"], CUDA, cores=8)
    assert "CUDA_VISIBLE_DEVICES" not in anywhere.environment


@pytest.mark.parametrize("visible", ["", "7", "7, "])
def test_no_gpu_is_taken_that_the_service_may_not_see(visible: str) -> None:
    with pytest.raises(ConfigurationError, match="no GPU 1"):
        layout(["cuda:1"], CUDA, cores=8, visible=visible)


def test_gpus_are_counted_among_those_that_the_service_may_see() -> None:
    placed = layout(["cuda:0", "cuda:1"], CUDA, cores=8, visible="5,GPU-0a1b")
    assert [each.environment["CUDA_VISIBLE_DEVICES"] for each in placed] == ["5", "GPU-0a1b"]
