"""How much one key may have here at once, and all keys together."""

from __future__ import annotations

import math
from dataclasses import dataclass

from reflector_gpu.errors import Overloaded, TooLarge
from reflector_gpu.store.database import Connection

_GB = 1e9
_SOON, _LATER = 60.0, 600.0  # seconds until it may be worth another try

_JOBS = "FROM jobs WHERE status IN ('queued', 'running'){and_mine}"

_OWN = f"""SELECT max(bytes) AS bytes {_JOBS} AND (source IS NULL
    OR (source NOT IN (SELECT id FROM uploads) AND source NOT IN (SELECT id FROM files)))
    GROUP BY coalesce(source, id)"""
"""The bytes of jobs that no upload and no file has. Jobs of one deleted upload share them."""

_KEPT = f"""SELECT (SELECT count(*) {_JOBS}) AS jobs,
    (SELECT coalesce(sum(bytes), 0) FROM ({_OWN}) AS own) +
    (SELECT coalesce(sum(size), 0) FROM files{{mine}}) +
    (SELECT coalesce(sum(length), 0) FROM uploads{{mine}}) AS bytes"""


@dataclass(frozen=True, slots=True)
class Share:
    """How many ``jobs`` may wait or run, how many ``bytes`` may be kept, and how many ``streams``
    of events may be open.

    Recordings of jobs, files and uploads count, uploads in full from their beginning. Jobs of one
    upload or file share its bytes: they add none while it is there, and all of them together add
    its size once it is deleted.
    """

    jobs: float = math.inf
    bytes: float = math.inf
    streams: float = math.inf


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept."""

    jobs: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one key may have, and what all keys together may have."""

    key: Share = Share()
    everybody: Share = Share()

    def check(self, connection: Connection, owner: str, size: int, jobs: int = 0) -> None:
        """Whether ``owner`` may keep ``size`` bytes more, and so many ``jobs``.

        Raises:
            TooLarge: these are more bytes than a key may ever keep.
            Overloaded: there is no room for them beside what is kept already.
        """
        most = min(self.key.bytes, self.everybody.bytes)
        if size > most:
            raise TooLarge(f"This server keeps at most {most / _GB:g} GB for a key; send less.")
        for share, mine in ((self.key, owner), (self.everybody, None)):
            kept = _kept(connection, mine)
            if kept.jobs + jobs > share.jobs:
                raise Overloaded(
                    f"{'The server has' if mine is None else 'Your key has'} {kept.jobs} jobs "
                    "that wait or run, and no more are taken; wait until some are done, or cancel "
                    "them.",
                    retry_after=_SOON,
                )
            if size and kept.bytes + size > share.bytes:
                raise Overloaded(
                    f"The server keeps at most {share.bytes / _GB:g} GB for "
                    f"{'all keys' if mine is None else 'your key'}, and has no room for this; "
                    "wait until jobs are done, or delete jobs, files, and the uploads that you "
                    "know the addresses of; unused uploads go by themselves.",
                    retry_after=_LATER,
                )


UNLIMITED = Allowance()


def _kept(connection: Connection, owner: str | None) -> _Kept:
    mine, and_mine = ("", "") if owner is None else (" WHERE owner = ?", " AND owner = ?")
    values = [] if owner is None else [owner] * 4
    [kept] = connection.rows(_KEPT.format(mine=mine, and_mine=and_mine), *values)
    return _Kept(int(kept["jobs"] or 0), int(kept["bytes"] or 0))
