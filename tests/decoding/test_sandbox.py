"""What a decoder may do and take."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

import pytest

from fuzz.media import alac, flac, iso
from reflector_gpu.decoding.messages import Ended
from reflector_gpu.decoding.processes import ProcessDecoders
from reflector_gpu.decoding.sandbox import _filter
from reflector_gpu.errors import UndecodableAudio
from tests.decoding.processes import begun, decoders_alive, run, whole

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has them")


ACTS = [
    ("open('/etc/hostname')", "PermissionError"),
    ("open('/tmp/x', 'w')", "PermissionError"),
    ("import socket; socket.socket()", "PermissionError"),
    ("import os; os.execv('/bin/true', ['true'])", "PermissionError"),
    ("import os; os.kill(os.getppid(), 0)", "PermissionError"),
    ("import os; os.kill(os.getpid(), 0)", "PermissionError"),
    ("import os; os.fork()", "PermissionError"),
    ("import os; os.truncate(2, 0)", "PermissionError"),
    ("import os; os.utime(2)", "PermissionError"),
    ("import resource; resource.prlimit(os.getppid(), resource.RLIMIT_CPU)", "PermissionError"),
    ("import signal; signal.pthread_kill(threading.get_ident(), 9)", "PermissionError"),
    ("import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_EXEC)", "PermissionError"),
    ("import mmap; mmap.mmap(-1, 4096); print('fine')", "fine"),
    ("bytearray(300_000_000)", "MemoryError"),
    ("bytearray(50_000_000); print('fine')", "fine"),
    (
        "import threading; t = threading.Thread(target=print, args=('fine',)); t.start(); t.join()",
        "fine",
    ),
]

TRY = """
import json, mmap, os, resource, signal, socket, sys, threading, traceback
from reflector_gpu.decoding.sandbox import confine, size

told = {}
for act in json.loads(sys.argv[1]):
    ours, theirs = os.pipe()
    if not os.fork():
        os.dup2(theirs, 1)
        os.dup2(theirs, 2)
        try:
            assert confine(size() + 256_000_000)
            exec(act)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(0)
    os.close(theirs)
    with open(ours) as pipe:
        told[act] = pipe.read()
    os.wait()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told_by_act() -> dict[str, str]:
    """What each act says in a process of its own, forked as decoders are."""
    acts = json.dumps([act for act, _ in ACTS])
    done = subprocess.run(
        [sys.executable, "-c", TRY, acts], capture_output=True, text=True, check=True
    )
    told: dict[str, str] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize(("act", "said"), ACTS)
def test_a_confined_process_can_compute_and_nothing_else(
    act: str, said: str, told_by_act: dict[str, str]
) -> None:
    assert said in told_by_act[act]


def test_what_it_can_do_is_refused_by_the_numbers_of_either_machine() -> None:
    programs = {_filter(machine) for machine in ("x86_64", "aarch64")}
    assert len(programs) == 2
    assert not _filter("a machine of another kind")


def test_time_is_limited_by_the_length_of_the_recording() -> None:
    code = (
        "from reflector_gpu.decoding.sandbox import CpuAllowance, _cpu_seconds\n"
        "import resource\n"
        "allowance = CpuAllowance()\n"
        "first = resource.getrlimit(resource.RLIMIT_CPU)[0]\n"
        "print(first <= _cpu_seconds() + 4)\n"
        "allowance.passed(100.0)\n"
        "allowance.passed(1.0)  # when it is read once more\n"
        "print(resource.getrlimit(resource.RLIMIT_CPU)[0] - first)\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (1, resource.RLIM_INFINITY))\n"
        "while True: pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-uc", code], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["True", "50"]
    assert done.returncode == -signal.SIGXCPU


@pytest.fixture(scope="module")
def alone() -> Iterator[Executor]:
    """A process that starts those whose memory is measured.

    Linux counts what a process takes as that of one that it starts, too, and the process of the
    tests may have taken any amount.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        yield executor


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: iso.many_samples(85_000_000), "no decodable audio"),
        (lambda: alac.huge_packet(16_700_000), "16700000 samples|memory|no decodable"),
        (lambda: iso.many_pictures(999), "more than 128 tracks"),
    ],
    ids=["sample table", "packet", "tracks"],
)
def test_a_bomb_is_refused_and_takes_little_memory(
    make: Callable[[], bytes], reason: str, alone: Executor
) -> None:
    said, kilobytes = alone.submit(refused, make()).result()
    assert re.search(reason, said)
    assert kilobytes <= 400_000


def refused(data: bytes) -> tuple[str, int]:
    """Why a recording is refused, and the most kilobytes that a child of this process has taken."""
    said = ""

    async def scene(decoders: ProcessDecoders) -> None:
        nonlocal said
        with pytest.raises(UndecodableAudio) as error:
            await whole(decoders, data)
        said = str(error.value)

    run(scene)
    return said, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def test_a_cover_is_not_looked_at() -> None:
    async def scene(decoders: ProcessDecoders) -> None:
        found = await whole(decoders, flac.with_cover(16_000, 16_000))
        assert isinstance(found[-1][0], Ended)

    run(scene)


def test_they_do_not_know_the_servers_secrets(
    meeting: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFLECTOR_APIKEY", "secret")

    async def scene(decoders: ProcessDecoders) -> None:
        async with begun(decoders, meeting):
            process = decoders_alive()[0]
            assert "REFLECTOR_APIKEY" not in process.environ()
            assert process.environ()

    run(scene)


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels choose by themselves")
def test_they_are_the_first_to_go_when_the_machine_has_no_memory_left(meeting: bytes) -> None:
    found = []

    def look(pid: int) -> None:
        found.append(int(Path(f"/proc/{pid}/oom_score_adj").read_text()))

    async def scene(decoders: ProcessDecoders) -> None:
        async with begun(decoders, meeting):
            look(decoders_alive()[0].pid)

    run(scene)
    look(os.getpid())
    decoder, server = found
    assert decoder == 1000 > server
