"""`make fuzz`: attack a server for ten minutes, and fail if anything gave way.

``FUZZ_SECONDS`` is for how long, ``FUZZ_SEED`` where the mutations begin; both are whole numbers.
"""

from __future__ import annotations

import os
import sys
import time

from fuzz import api, attack
from fuzz.report import Report
from fuzz.target import LIMIT, target

FILES = 2_000
"""Mutated ones, at least."""

API_SHARE = 0.2
"""Of the time, for what the OpenAPI document describes."""


def main() -> int:
    seconds = int(os.environ.get("FUZZ_SECONDS", "600"))
    seed = int(os.environ.get("FUZZ_SEED", "0"))
    until = time.monotonic() + seconds
    with target() as server:
        attack.warm_up(server)
        idle = server.footprint()
        print(
            f"Seed {seed}, for {seconds} s; each process may take {LIMIT / 1e9:g} GB. Idle: "
            f"{idle.memory / 1e6:.0f} MB in {idle.processes} processes, "
            f"{idle.descriptors} descriptors, {idle.threads} threads."
        )
        reports = [
            attack.crafted_part(server),
            api.api_part(server, int(API_SHARE * seconds), seed=seed),
            attack.mutated_part(server, FILES, until, seed=seed),
        ]
        with attack.part(server, "at rest") as rest:
            log = server.log.read_text(errors="replace")
            rest.complaints += [f"in the log: {line}" for line in log.splitlines() if _told(line)]
    return verdict([*reports, rest])


def verdict(reports: list[Report]) -> int:
    bad = sum(len(report.bad) for report in reports)
    print("\nNothing gave way." if not bad else f"\n{bad} complaints.")
    return 1 if bad else 0


def _told(line: str) -> bool:
    return line.startswith("Traceback")


if __name__ == "__main__":
    sys.exit(main())
