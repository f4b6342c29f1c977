"""Parts of the attack: each sends its requests, waits until all is quiet, and says what is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count

import httpx

from benchmarks.watch import Watch
from fuzz.media import Media, flac
from fuzz.media.crafted import all_crafted, crafted
from fuzz.media.mutated import mutated
from fuzz.report import Report
from fuzz.target import MOST_AT_WORK, Target
from fuzz.ways import TRANSCRIPTIONS, Sender
from tests.api.hosts import AudioHost

SLOW_SECONDS = 10.0
"""Longest that one hostile file may occupy the server."""

MOST_DELAY = 3.0
"""Times as long as usual that others may wait meanwhile, by the 95th percentile."""

_AT_ONCE = 4
_LOG_LINES = 40
_BATCH = 100
_MUTATED_WAYS = ("upload", "URL", "base64")
_NORMAL_CLIP = flac.constant(1, 16_000)


@contextmanager
def part(server: Target, name: str, most: int = MOST_AT_WORK) -> Iterator[Report]:
    """A part whose requests are sent in the block. Then leaks are looked for.

    The server may take ``most`` bytes for it.
    """
    report, before = Report(name), server.footprint()
    with Watch(server.process.pid) as watch:
        yield report
    if watch.memory:
        report.peak = max(report.peak, watch.peak - before.memory)
    if report.peak > most:
        report.complaints.append(f"{report.peak / 1e6:.0f} MB over idle")
    if not server.healthy():
        report.complaints.append("the server is not ready any more")
    report.complaints += [f"left behind: {what}" for what in server.left_behind(before)]
    report.show()
    if report.bad:
        print("  the server's last words:")
        for line in server.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]:
            print(f"  | {line}")


def warm_up(server: Target) -> None:
    """Let the server open what it opens once and then keeps; allocators, too, keep memory."""
    with server.client() as client, AudioHost() as host:
        sender = Sender(client, host)
        for files in (crafted(), mutated(20)):
            _at_once(sender, ((media, way) for media in files for way in sender.ways))
        client.post("/llm", json={"prompt": "Hello."}).raise_for_status()
        client.post("/translate", params={"text": "Hello."}).raise_for_status()


def crafted_part(server: Target) -> Report:
    """Every crafted file in every way, one after the other, while a normal client goes on."""
    with part(server, "crafted files") as report, server.client() as client, AudioHost() as host:
        sender, normal = Sender(client, host), Normal(server)
        idle = normal.percentile_while(lambda: time.sleep(5))
        rest = server.footprint().memory

        def send() -> None:
            for media in all_crafted():
                with Watch(server.process.pid) as watch:
                    found = [sender.send(media, way) for way in sender.ways]
                taken = watch.peak - rest if watch.memory else 0
                report.outcomes += found
                report.complaints += [f"slow: {one}" for one in found if one.seconds > SLOW_SECONDS]
                if taken > MOST_AT_WORK:
                    report.complaints.append(f"{taken / 1e6:.0f} MB over idle for {media.name}")

        meanwhile = normal.percentile_while(send)
        print(f"\na normal client's p95: {idle:.0f} ms idle, {meanwhile:.0f} ms meanwhile")
        if meanwhile > MOST_DELAY * idle:
            report.complaints.append(f"a normal client waits {meanwhile / idle:.1f} times as long")
        report.complaints += normal.complaints
    return report


def mutated_part(server: Target, files: int, until: float, *, seed: int) -> Report:
    """At least ``files`` mutated files in three ways each, and more ``until`` the time is up."""
    with part(server, "mutated files") as report, server.client() as client, AudioHost() as host:
        sender = Sender(client, host)
        for batch in count():
            if batch * _BATCH >= files and time.monotonic() > until:
                break
            media = mutated(_BATCH, seed=seed + batch)
            _at_once(sender, ((one, way) for one in media for way in _MUTATED_WAYS), report)
            if not server.process.is_running():
                break
    print(f"  {len(report.outcomes) // len(_MUTATED_WAYS)} files")
    return report


def _at_once(
    sender: Sender, requests: Iterable[tuple[Media, str]], report: Report | None = None
) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        outcomes = list(threads.map(lambda request: sender.send(*request), requests))
    if report:
        report.outcomes += outcomes
        report.complaints += [f"slow: {one}" for one in outcomes if one.seconds > SLOW_SECONDS]


class Normal:
    """A client that sends clips of a second, one after the other."""

    def __init__(self, server: Target) -> None:
        self._server = server
        self.complaints: list[str] = []

    def percentile_while(self, work: Callable[[], None]) -> float:
        """The 95th percentile of its milliseconds while ``work`` is done."""
        done, taken = threading.Event(), list[float]()
        thread = threading.Thread(target=self._ask, args=(done, taken))
        thread.start()
        try:
            work()
        finally:
            done.set()
            thread.join()
        return 1000 * sorted(taken)[int(0.95 * (len(taken) - 1))] if taken else float("inf")

    def _ask(self, done: threading.Event, taken: list[float]) -> None:
        with self._server.client() as client:
            while not done.is_set() or not taken:
                began = time.monotonic()
                try:
                    status = client.post(TRANSCRIPTIONS, files={"file": _NORMAL_CLIP}).status_code
                except httpx.HTTPError as error:
                    self.complaints.append(f"a normal client: {error!r}")
                    return
                taken.append(time.monotonic() - began)
                if status != 200:
                    self.complaints.append(f"a normal client gets {status}")
