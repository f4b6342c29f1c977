"""Ten times what a server takes on: ``python -m fuzz.overload [SECONDS]``.

Patient clients send clips and take 429 for an answer. Slow readers do not read their streams,
droppers leave midway, dribblers send a byte now and then, and bombers send crafted files. No answer
may be a 5xx, health checks stay quick, and afterwards the server is as it was.
"""

from __future__ import annotations

import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping

import httpx

from fuzz import attack
from fuzz.media import Media, flac
from fuzz.media.crafted import crafted
from fuzz.report import Report
from fuzz.target import KEY, Target, target
from fuzz.ways import NO_ANSWER, TRANSCRIPTIONS, Outcome, Sender
from samples.server import SAMPLES
from tests.api.hosts import AudioHost

PLACES = 8
"""Uploads that the server works on at once. Few, so that ten times as many are not many."""

TIMES = 10

DECODER_BYTES = 256_000_000
"""What decoding one recording may take. Bombs in all places, live and file, take it at once."""

HEALTH_SECONDS = 0.5
"""The 99th percentile of health checks stays below."""

_PAUSE = 0.05  # seconds between two requests of a client
_CLIP = flac.constant(1, 16_000)
_SPEECH = (SAMPLES / "jfk.flac").read_bytes()


_Act = Callable[[httpx.Client, random.Random], None]


class Crowd:
    """Clients of every kind, each a thread, until it is told to stop."""

    def __init__(self, server: Target, host: AudioHost, report: Report) -> None:
        self._server = server
        self._host = host
        self._report = report
        self._over = threading.Event()
        self._bombs = list(crafted())
        self.health: list[float] = []
        """Seconds of each health check."""

    def run(self, seconds: float) -> None:
        kinds: Mapping[_Act, float] = {
            self._patient: 0.5,
            self._slow_reader: 0.15,
            self._dropper: 0.15,
            self._dribbler: 0.1,
            self._bomber: 0.1,
        }
        threads = [threading.Thread(target=self._check_health)]
        threads += [
            threading.Thread(target=self._repeat, args=(kind, number))
            for kind, share in kinds.items()
            for number in range(round(share * TIMES * PLACES))
        ]
        for thread in threads:
            thread.start()
        self._over.wait(seconds)
        self._over.set()
        for thread in threads:
            thread.join()

    def _repeat(self, act: _Act, number: int) -> None:
        dice = random.Random(number)
        with self._server.client() as client:
            while not self._over.wait(dice.random() * _PAUSE):
                act(client, dice)

    def _patient(self, client: httpx.Client, dice: random.Random) -> None:
        """Comes back when it is told to, or nearly."""
        sent = dice.choice((_CLIP, _SPEECH))
        outcome = Sender(client, self._host).send(Media("a clip", sent), "upload")
        self._report.outcomes.append(outcome)
        if outcome.status == 429:
            self._over.wait(dice.random())

    def _slow_reader(self, client: httpx.Client, dice: random.Random) -> None:
        """Asks for a stream, and does not read it."""
        with self._connection() as connection:
            connection.sendall(_request(_SPEECH, "?stream=true"))
            self._over.wait(1 + 4 * dice.random())

    def _dropper(self, client: httpx.Client, dice: random.Random) -> None:
        """Leaves in the middle of its request, or while it is worked on."""
        with self._connection() as connection:
            whole = _request(_SPEECH, "")
            connection.sendall(whole[: dice.randrange(1, 2 * len(whole))])
            self._over.wait(0.2 * dice.random())

    def _dribbler(self, client: httpx.Client, dice: random.Random) -> None:
        """Sends a hundred bytes a second."""
        with self._connection() as connection:
            for byte in _request(_SPEECH, "")[:500]:
                try:
                    connection.sendall(bytes([byte]))
                except OSError:
                    return  # the server has had enough
                if self._over.wait(0.01):
                    return

    def _bomber(self, client: httpx.Client, dice: random.Random) -> None:
        sender = Sender(client, self._host)
        way = dice.choice(list(sender.ways))
        self._report.outcomes.append(sender.send(dice.choice(self._bombs), way))

    def _check_health(self) -> None:
        with self._server.client() as client:
            while not self._over.wait(0.1):
                began = time.monotonic()
                try:
                    status = client.get("/health/live").status_code
                except httpx.HTTPError:
                    status = NO_ANSWER
                self.health.append(time.monotonic() - began)
                if status != 200:
                    self._report.outcomes.append(
                        Outcome("health", "GET", status, self.health[-1], "")
                    )

    def _connection(self) -> socket.socket:
        where = httpx.URL(self._server.url)
        return socket.create_connection((where.host, where.port or 80), timeout=60)


def _request(audio: bytes, query: str) -> bytes:
    head = (
        f"POST {TRANSCRIPTIONS}{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: audio/flac\r\nContent-Length: {len(audio)}\r\n\r\n"
    )
    return head.encode() + audio


def main(seconds: float) -> int:
    limits = {"LIVE_REQUESTS": str(PLACES), "FILE_REQUESTS": str(PLACES), "WRITE_SECONDS": "5"}
    limits["DECODING_MEMORY_MB"] = str(DECODER_BYTES // 1_000_000)
    with target(**limits) as server, AudioHost() as host:
        attack.warm_up(server)
        most = 2 * PLACES * DECODER_BYTES
        with attack.part(server, f"{TIMES} times as much, for {seconds:g} s", most) as report:
            crowd = Crowd(server, host, report)
            crowd.run(seconds)
            taken = sorted(crowd.health)
            late = taken[int(0.99 * (len(taken) - 1))]
            print(f"\nhealth checks: {len(taken)}, p99 {1000 * late:.0f} ms")
            if late > HEALTH_SECONDS:
                report.complaints.append(f"health checks take {late:.1f} s")
    return 1 if report.bad else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if sys.argv[1:] else 300.0))
