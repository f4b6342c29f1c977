"""Weights come from a hub once, whole and undamaged, and are found again without it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from reflector_gpu.engines.weights import Weights, size
from tests.engines.hub import LARGE, WRITTEN, Download, Hub
from tests.waiting import PROGRAM_SECONDS, until

FILES = {"config.json": b"{}", "model.bin": LARGE, "README.md": b"not needed"}
WEIGHTS = Weights(
    "somebody/some-model", ("config.json", "model.*"), ("config.json", "model.bin"), 12
)

PULL = """
import pickle, sys
from reflector_gpu.errors import ReflectorError
weights = pickle.loads(bytes.fromhex(sys.argv[1]))
try:
    print(weights.pull())
except ReflectorError as error:
    sys.exit(f"{type(error).__name__}: {error.message}")
"""


def command(weights: Weights = WEIGHTS, setup: str = "") -> list[str]:
    return [sys.executable, "-c", setup + PULL, pickle.dumps(weights).hex()]


def pull(
    home: Path,
    hub: str,
    *,
    weights: Weights = WEIGHTS,
    setup: str = "",
    environment: Mapping[str, str] = {},
) -> subprocess.CompletedProcess[str]:
    """`Weights.pull` in a process of its own: the hub library reads its settings on import."""
    return subprocess.run(
        command(weights, setup),
        env={**os.environ, "HF_HOME": str(home), "HF_ENDPOINT": hub, **environment},
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
    )


@contextmanager
def pulling(home: Path, hub: Hub, weights: Weights = WEIGHTS) -> Iterator[subprocess.Popen[str]]:
    """The same while it runs; it is killed outright at the end."""
    environment = {**os.environ, "HF_HOME": str(home), "HF_ENDPOINT": hub.url}
    with subprocess.Popen(
        command(weights), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def found() -> Path | None:
    return WEIGHTS.folder


def is_written() -> bool:
    return WEIGHTS.fetched >= WRITTEN / 1e6


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for name in ("HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_pulled_weights_are_found_without_the_hub(home: Path) -> None:
    assert not found()
    with Hub(WEIGHTS.repository, FILES) as hub:
        done = pull(home, hub.url)
        assert done.returncode == 0, done.stderr
        assert hub.fetched == ["config.json", "model.bin"]
        assert pull(home, hub.url).returncode == 0
        assert len(hub.downloads) == 2, "what is there is not fetched again"
    assert pull(home, "http://127.0.0.1:9").stdout == done.stdout, "nor is the hub needed"

    folder = found()
    assert folder == Path(done.stdout.strip())
    assert (folder / "model.bin").read_bytes() == LARGE
    assert WEIGHTS.fetched == pytest.approx(12.0, abs=0.001)
    assert done.stderr == "", "a log is no place for bars"


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"])
def test_the_cache_is_where_the_hubs_users_have_it(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    code = "import huggingface_hub.constants as c; print(c.HF_HUB_CACHE)"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    snapshot = Path(asked.stdout.strip(), "models--somebody--some-model", "snapshots", "abc")
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").touch()
    (snapshot / "model.bin").touch()
    assert not found()
    refs = snapshot.parent.parent / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    assert found() == snapshot


def test_a_pull_that_was_killed_goes_on_where_it_was(home: Path) -> None:
    with Hub(WEIGHTS.repository, FILES) as hub:
        hub.stops_after = WRITTEN + 1000
        with pulling(home, hub):
            until(is_written)
        assert not found()
        hub.stops_after = None
        done = pull(home, hub.url)
        assert done.returncode == 0, done.stderr
        assert [d.start for d in hub.downloads if d.name == "model.bin"] == [0, WRITTEN]
    folder = found()
    assert folder
    assert (folder / "model.bin").read_bytes() == LARGE


def test_two_that_pull_the_same_do_not_fetch_it_twice(home: Path) -> None:
    with Hub(WEIGHTS.repository, FILES) as hub:
        hub.stops_after = WRITTEN + 1000
        with pulling(home, hub) as first:
            until(is_written)
            asked = len(hub.looked_up)
            with pulling(home, hub) as second:
                until(lambda: any("model.bin" in path for path in hub.looked_up[asked:]))
                hub.go_on()
                assert [process.wait(60) for process in (first, second)] == [0, 0]
        assert hub.fetched == ["config.json", "model.bin"]
    assert found()


def test_an_update_that_breaks_off_leaves_what_was_there_in_use(home: Path) -> None:
    with Hub(WEIGHTS.repository, {**FILES, "model.bin": b"the first"}) as hub:
        assert pull(home, hub.url).returncode == 0
    before = found()
    assert before
    with Hub(WEIGHTS.repository, FILES, commit="f" * 40) as hub:
        hub.stops_after = WRITTEN + 1000
        with pulling(home, hub):
            until(is_written)
        assert found() == before
        hub.stops_after = None
        assert pull(home, hub.url).returncode == 0
    after = found()
    assert after != before
    assert after
    assert (after / "model.bin").read_bytes() == LARGE


def test_models_that_share_a_repository_do_not_get_in_each_others_way(home: Path) -> None:
    """As Parakeet and its quantised form do, whose largest files are not among those required."""
    small = Weights(WEIGHTS.repository, ("config.json", "small.*"), ("small.bin",), 2)
    large = replace(WEIGHTS, patterns=("*.json", "head", "model.*"), required=("head",))
    files = {"small.bin": LARGE[:2_000_000], "head": b"head", **FILES}
    with Hub(WEIGHTS.repository, files) as hub:
        assert pull(home, hub.url, weights=small).returncode == 0
        assert small.fetched == pytest.approx(2.0, abs=0.001)
        assert large.fetched < 0.001, "what only the other one needs does not count"
        hub.stops_after = WRITTEN + 1000
        with pulling(home, hub, large):
            until(lambda: large.fetched >= WRITTEN / 1e6)
        assert not large.folder, "not before all of it is there"
        hub.go_on()
        assert pull(home, hub.url, weights=large).returncode == 0
    both = large.folder
    assert both
    assert small.folder == both
    with Hub(WEIGHTS.repository, files, commit="f" * 40) as hub:
        assert pull(home, hub.url, weights=small).returncode == 0
    assert small.folder != both
    assert large.folder == both, "an update of one does not take the other away"


def test_what_is_of_two_repositories_is_complete_when_both_are(home: Path) -> None:
    other = Weights("somebody/another-model", ("voice.*",), ("voice.bin",), 1)
    both = replace(WEIGHTS, megabytes=13, beside=other)
    with Hub((both.repository, other.repository), {**FILES, "voice.bin": b"a voice"}) as hub:
        assert pull(home, hub.url).returncode == 0
        assert found()
        assert replace(both).folder is None

        done = pull(home, hub.url, weights=both)
        assert done.returncode == 0, done.stderr
        assert sorted(hub.fetched) == ["config.json", "model.bin", "voice.bin"]
        own, beside = both.folders
        assert own == found() == Path(done.stdout.strip())
        assert (beside / "voice.bin").read_bytes() == b"a voice"
        assert both.fetched == pytest.approx(12.0, abs=0.001)
    assert pull(home, "http://127.0.0.1:9", weights=both).stdout == done.stdout


@pytest.mark.parametrize("name", ["config.json", "model.bin"])
def test_what_arrives_damaged_is_refused(home: Path, name: str) -> None:
    with Hub(WEIGHTS.repository, FILES) as hub:
        hub.damaged.add(name)
        done = pull(home, hub.url)
        assert done.returncode == 1
        assert f"{name} of {WEIGHTS.repository} arrived damaged" in done.stderr
        assert not found()
        hub.damaged.clear()
        assert pull(home, hub.url).returncode == 0
        assert Download(name) in hub.downloads[-2:], "nothing of it is kept"
    assert found()


def test_a_mirrors_own_names_for_contents_are_no_hashes(home: Path) -> None:
    with Hub(WEIGHTS.repository, FILES) as hub:
        hub.names = {name: f"mirrored-{name}" for name in FILES}
        assert pull(home, hub.url).returncode == 0
    assert found()


def test_keys_are_for_the_hub_alone(home: Path) -> None:
    with Hub(WEIGHTS.repository, FILES) as hub:
        assert pull(home, hub.url, environment={"HF_TOKEN": "hf_secret"}).returncode == 0
    keys = {download.name: download.key for download in hub.downloads}
    assert keys == {"config.json": "Bearer hf_secret", "model.bin": None}


def test_a_repository_without_the_files_is_a_clear_error(home: Path) -> None:
    with Hub(WEIGHTS.repository, {"config.json": b"{}"}) as hub:
        done = pull(home, hub.url)
    assert done.returncode == 1
    assert done.stderr == "UpstreamFailed: somebody/some-model on the hub has no model.bin.\n"
    assert not found()


@pytest.mark.parametrize(
    ("environment", "told"),
    [({}, "HF_ENDPOINT"), ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set")],
    ids=["no hub", "offline"],
)
def test_a_hub_out_of_reach_is_a_clear_error(
    home: Path, environment: dict[str, str], told: str
) -> None:
    done = pull(home, "http://127.0.0.1:9", environment=environment)
    assert done.returncode == 1
    assert done.stderr.startswith("HubOutOfReach: ")
    assert told in done.stderr
    assert WEIGHTS.repository in done.stderr


GATED = f"accept its terms at https://huggingface.co/{WEIGHTS.repository}, and set HF_TOKEN."


@pytest.mark.parametrize(("status", "hint"), [(404, ""), (401, GATED), (403, GATED)])
def test_a_hub_that_refuses_is_a_clear_error(home: Path, status: int, hint: str) -> None:
    with Hub(WEIGHTS.repository, FILES) as hub:
        hub.refuses = status
        done = pull(home, hub.url)
    assert done.returncode == 1
    assert f"UpstreamFailed: The model hub answers {status} for {WEIGHTS.repository}" in done.stderr
    assert hint in done.stderr


def test_what_does_not_fit_is_not_begun(home: Path) -> None:
    full = "import shutil, types\nshutil.disk_usage = lambda _: types.SimpleNamespace(free=3e6)\n"
    with Hub(WEIGHTS.repository, FILES) as hub:
        done = pull(home, hub.url, setup=full)
    assert done.returncode == 1
    assert "StorageFull: somebody/some-model needs 12 MB more than the 3 MB" in done.stderr
    assert "HF_HOME" in done.stderr
    assert hub.fetched == ["config.json"]


def test_a_disk_that_fills_up_is_a_clear_error(home: Path) -> None:
    """A limit on the size of files fails in the same call, and needs no rights."""
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, 5_000_000))\n"
    with Hub(WEIGHTS.repository, FILES) as hub:
        done = pull(home, hub.url, setup=limit)
        assert done.returncode == 1
        assert done.stderr.startswith("StorageFull: somebody/some-model cannot be written")
        assert pull(home, hub.url).returncode == 0
        assert hub.downloads[-1] == Download("model.bin", 5_000_000), "what has arrived is kept"
    assert found()


@pytest.mark.parametrize(
    ("megabytes", "text"), [(78, "78 MB"), (0.4, "0 MB"), (2480, "2.5 GB"), (999.4, "999 MB")]
)
def test_sizes_are_for_people(megabytes: float, text: str) -> None:
    assert size(megabytes) == text
