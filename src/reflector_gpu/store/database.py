"""One database: a file of SQLite, or a PostgreSQL that several servers share.

Statements are written once, with ``?`` for parameters, in the SQL that both understand. A
transaction is a function that gets a `Connection`. Transactions run in a thread, one at a time.
What they change is on disk when `Database.write` returns.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Protocol, TypeAlias, TypeVar

from reflector_gpu.errors import StorageFull, Unavailable
from reflector_gpu.store.schema import STATEMENTS

logger = logging.getLogger(__name__)

T = TypeVar("T")

Value: TypeAlias = str | int | float | bytes | None
Row: TypeAlias = Mapping[str, Value]

FILE = "reflector.db"
"""The name of the SQLite database in its folder."""

_BUSY_SECONDS = 30.0  # that another process may write


class Kind(Enum):
    """What a transaction does, and what its changes have to survive."""

    READ = auto()
    NOTE = auto()
    DURABLE = auto()


class Connection(Protocol):
    """One transaction."""

    @property
    def unlocked(self) -> str:
        """The end of a sub-query that leaves out rows that other servers are changing."""

    def rows(self, statement: str, *values: Value) -> list[Row]:
        """The rows that ``statement`` gives."""

    def change(self, statement: str, *values: Value) -> int:
        """How many rows ``statement`` has changed."""


class Backend(Protocol):
    """A connection to a kind of database, for one thread at a time."""

    def transaction(self, kind: Kind) -> AbstractContextManager[Connection]:
        """A transaction, which an error in the ``with`` block undoes.

        Raises:
            StorageFull, Unavailable
        """

    def close(self) -> None: ...


class Database:
    """Runs transactions. Safe to share between tasks."""

    def __init__(self, connect: Callable[[], Backend]) -> None:
        self._writer = _Lane("database-writer", connect)
        # Readers do not wait for the disk, as writers have to.
        self._reader = _Lane("database-reader", connect)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """The result of ``work``, once everything that it changed is on disk.

        Raises:
            StorageFull: there is no room.
            Unavailable: the database does not answer.
        """
        return await self._writer.run(work, Kind.DURABLE)

    async def note(self, work: Callable[[Connection], T]) -> T:
        """As `write`, but quicker, for what can be done again: a loss of power may undo the latest
        changes."""
        return await self._writer.run(work, Kind.NOTE)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """The result of ``work``, which changes nothing.

        Raises:
            Unavailable: the database does not answer.
        """
        return await self._reader.run(work, Kind.READ)

    def write_now(self, work: Callable[[Connection], T]) -> T:
        """As `write`, for callers without an event loop."""
        return self._writer.submit(work, Kind.DURABLE)

    def close(self) -> None:
        self._writer.close()
        self._reader.close()


def sqlite_in(folder: Path) -> Database:
    """The SQLite database in ``folder``."""
    return Database(lambda: _Sqlite(folder / FILE))


class _Lane:
    """A thread with a connection of its own, which is opened when it is first used."""

    def __init__(self, name: str, connect: Callable[[], Backend]) -> None:
        self._thread = ThreadPoolExecutor(1, name)
        self._connect = connect
        self._backend: Backend | None = None

    async def run(self, work: Callable[[Connection], T], kind: Kind) -> T:
        loop = asyncio.get_running_loop()
        # A transaction is done even if its caller has gone.
        return await asyncio.shield(
            loop.run_in_executor(self._thread, lambda: self._perform(work, kind))
        )

    def submit(self, work: Callable[[Connection], T], kind: Kind) -> T:
        return self._thread.submit(self._perform, work, kind).result()

    def close(self) -> None:
        self._thread.submit(self._close)
        self._thread.shutdown()

    def _perform(self, work: Callable[[Connection], T], kind: Kind) -> T:
        if self._backend is None:
            self._backend = self._connect()
        with self._backend.transaction(kind) as connection:
            return work(connection)

    def _close(self) -> None:
        if self._backend:
            self._backend.close()


class _Sqlite:
    """A file. Several processes may use it; what was committed survives a loss of power."""

    def __init__(self, path: Path) -> None:
        with _translated():
            self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            self._connection.row_factory = sqlite3.Row
            for pragma in ("journal_mode=WAL", "secure_delete=ON"):
                self._connection.execute(f"PRAGMA {pragma}")
        path.chmod(0o600)
        with self.transaction(Kind.DURABLE) as connection:
            migrate(connection)

    @contextmanager
    def transaction(self, kind: Kind) -> Iterator[Connection]:
        with _translated():
            level = "FULL" if kind is Kind.DURABLE else "NORMAL"
            self._connection.execute(f"PRAGMA synchronous={level}")
            self._connection.execute("BEGIN" if kind is Kind.READ else "BEGIN IMMEDIATE")
            try:
                yield _SqliteTransaction(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended it already
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        self._connection.close()


class _SqliteTransaction:
    unlocked = ""  # a transaction that writes is alone

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, statement: str, *values: Value) -> list[Row]:
        return [dict(row) for row in self._connection.execute(statement, values)]

    def change(self, statement: str, *values: Value) -> int:
        return self._connection.execute(statement, values).rowcount


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        logger.error("The database failed: %s", error)
        if error.sqlite_errorcode in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise StorageFull("The server's storage is full; try again later.") from error
        raise Unavailable("The server's database does not answer; try again later.") from error


def migrate(connection: Connection) -> None:
    """Bring the tables to the newest version."""
    connection.change("CREATE TABLE IF NOT EXISTS versions (version BIGINT NOT NULL)")
    found = connection.rows("SELECT max(version) AS version FROM versions")[0]["version"]
    for version, statement in enumerate(STATEMENTS, 1):
        if version > int(found or 0):
            connection.change(statement)
            connection.change("INSERT INTO versions VALUES (?)", version)
