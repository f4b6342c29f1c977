"""Weights are deleted whole, alone, and with what nobody else needs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from reflector_gpu.engines.weights import Weights
from reflector_gpu.engines.weights.removal import occupied, remove
from reflector_gpu.errors import ConfigurationError

LARGE = Weights("some/model", ("model.onnx", "sub/*", "vocab.txt"), ("model.onnx", "vocab.txt"), 3)
SMALL = Weights("some/model", ("model.int8.onnx", "vocab.txt"), ("model.int8.onnx", "vocab.txt"), 1)
PAIR = Weights("some/networks", ("a.onnx",), ("a.onnx",), 1, beside=LARGE)

about = partial(pytest.approx, abs=1e-3)

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def lay(weights: Weights, **files: int) -> None:
    """Put files of so many bytes into the cache, as the hub library does; ``__`` is a slash."""
    for name, size in files.items():
        path = name.replace("__", "/")
        blob = weights.cached.path / "blobs" / name
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(bytes(size))
        link = weights.cached.path / "snapshots" / COMMIT / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    reference = weights.cached.path / "refs" / "main"
    reference.parent.mkdir(exist_ok=True)
    reference.write_text(COMMIT)


def lay_large() -> None:
    lay(LARGE, **{"model.onnx": 2_000_000, "sub__more": 500_000, "vocab.txt": 1000})


def lay_small() -> None:
    lay(SMALL, **{"model.int8.onnx": 1_000_000})


def test_a_repository_of_its_own_goes_as_a_whole(cache: Path) -> None:
    lay_large()
    (LARGE.cached.path / "blobs" / "other.incomplete").write_bytes(bytes(1_000_000))
    assert remove(LARGE, [SMALL]) == about(3.501)
    assert not LARGE.cached.path.exists()
    assert LARGE.folder is None


def test_what_was_never_finished_goes_too() -> None:
    partial = LARGE.cached.path / "blobs" / "hash.incomplete"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(bytes(2_000_000))
    assert remove(LARGE, []) == about(2)
    assert not LARGE.cached.path.exists()


def test_a_shared_repository_keeps_what_the_other_needs() -> None:
    lay_large()
    lay_small()
    assert remove(LARGE, [SMALL]) == about(2.5)
    assert LARGE.folder is None
    assert SMALL.folder is not None
    assert occupied(SMALL) == about(1.001)
    assert remove(SMALL, [LARGE]) == about(1.001)
    assert not SMALL.cached.path.exists()


def test_what_is_beside_goes_too_unless_it_is_somebodys() -> None:
    lay_large()
    lay(PAIR, **{"a.onnx": 1_000_000})
    assert remove(PAIR, [LARGE]) == about(1)
    assert LARGE.folder is not None
    lay(PAIR, **{"a.onnx": 1_000_000})
    assert remove(PAIR, []) == about(3.501)


def test_removing_what_is_not_there_frees_nothing() -> None:
    assert remove(LARGE, [SMALL]) == 0


def test_a_folder_that_is_linked_into_the_cache_stays(cache: Path, tmp_path: Path) -> None:
    lay_large()
    own = LARGE.cached.path.rename(tmp_path / "own")
    LARGE.cached.path.symlink_to(own)
    with pytest.raises(ConfigurationError, match="is a link"):
        remove(LARGE, [])
    assert LARGE.folder is not None
