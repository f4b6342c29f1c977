"""A PostgreSQL that several servers share (extra ``postgresql``)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from reflector_gpu.errors import ConfigurationError, InvalidRequest, Unavailable
from reflector_gpu.store.database import Connection, Database, Kind, Row, Value, migrate

if TYPE_CHECKING:
    from pg8000.dbapi import Connection as Link

logger = logging.getLogger(__name__)

_ANSWER_SECONDS = 10  # to connect and, as the driver leaves it on its socket, to each message
_MIGRATION_LOCK = 0x5EF1_EC70  # any number, as long as all servers have the same


def postgresql_at(url: str) -> Database:
    """The database at ``url``: ``postgresql://user:password@host:5432/name``.

    Raises:
        ConfigurationError: the driver is not installed, or this is no such URL.
    """
    connect = _connector(url)
    return Database(lambda: _Postgresql(connect))


def _connector(url: str) -> Callable[[], Link]:
    try:
        from pg8000 import dbapi
    except ImportError:
        raise ConfigurationError(
            "REFLECTOR_DATABASE_URL needs the driver of PostgreSQL: "
            "pip install 'reflector-gpu[postgresql]'"
        ) from None
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
        raise ConfigurationError(
            "REFLECTOR_DATABASE_URL should be postgresql://user:password@host:5432/name"
        )
    socket = parse_qs(parts.query).get("host", [""])[0]

    def connect() -> Link:
        return dbapi.connect(
            user=unquote(parts.username or "postgres"),
            password=unquote(parts.password) if parts.password else None,
            host=parts.hostname or "127.0.0.1",
            port=port,
            database=unquote(parts.path.strip("/")),
            unix_sock=f"{socket}/.s.PGSQL.{port}" if socket else None,
            timeout=_ANSWER_SECONDS,
            application_name="reflector-gpu",
        )

    return connect


class _Postgresql:
    """One connection, which is opened again after it broke."""

    def __init__(self, connect: Callable[[], Link]) -> None:
        self._connect = connect
        self._link: Link | None = None
        with self.transaction(Kind.DURABLE) as connection:
            connection.rows("SELECT pg_advisory_xact_lock(?)", _MIGRATION_LOCK)
            migrate(connection)

    @contextmanager
    def transaction(self, kind: Kind) -> Iterator[Connection]:
        from pg8000.exceptions import Error

        try:
            if self._link is None:
                self._link = self._connect()
            link = self._link
            try:
                transaction = _Transaction(link)
                if kind is Kind.NOTE:
                    transaction.change("SET LOCAL synchronous_commit = off")
                yield transaction
            except BaseException:
                link.rollback()
                raise
            link.commit()
        except (Error, OSError) as error:
            self.close()
            logger.error("The database failed: %s", error)
            raise Unavailable("The server's database does not answer; try later.") from error

    def close(self) -> None:
        if self._link:
            with suppress(Exception):  # it is broken, in whatever way
                self._link.close()
        self._link = None


class _Transaction:
    unlocked = " FOR UPDATE SKIP LOCKED"

    def __init__(self, link: Link) -> None:
        self._link = link

    def rows(self, statement: str, *values: Value) -> list[Row]:
        cursor = self._link.cursor()
        cursor.execute(_numbered(statement), _checked(values))
        names = [str(column[0]) for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def change(self, statement: str, *values: Value) -> int:
        cursor = self._link.cursor()
        cursor.execute(_numbered(statement), _checked(values))
        return int(cursor.rowcount)


def _checked(values: tuple[Value, ...]) -> tuple[Value, ...]:
    if any(isinstance(value, str) and "\0" in value for value in values):
        raise InvalidRequest("The request has a NUL character; leave it out.")
    return values


def _numbered(statement: str) -> str:
    """``statement`` in the driver's own style of parameters. Ours have no other question marks."""
    return statement.replace("%", "%%").replace("?", "%s")
