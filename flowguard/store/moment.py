"""Points in time: in with any time zone, out as UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, DateTime, Dialect, TypeDecorator, text


class Moment(TypeDecorator[datetime]):
    """The type of a column with points in time. SQLite keeps no zones, so all are kept in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else utc(value)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def utc(moment: datetime) -> datetime:
    """`moment` in UTC; raises `ValueError` when it has no time zone.

    >>> utc(datetime.fromisoformat("2026-03-01T07:00:00+02:00")).isoformat()
    '2026-03-01T05:00:00+00:00'
    """
    if moment.tzinfo is None:
        raise ValueError(f"The time {moment} has no time zone: write datetime.now(UTC), for example.")
    return moment.astimezone(UTC)


def clock(connection: Connection) -> datetime:
    """What time it is by the database, whose clock is the same for all machines; that of this one for SQLite."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    theirs: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return theirs.astimezone(UTC)
