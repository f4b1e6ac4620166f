"""Rules: "ordinary, stop telling me", said of records within a scope, for a while. Added and revoked, never changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from operator import index
from typing import Any

from sqlalchemy import Row, func, insert, select, update

from flowguard.errors import InputError
from flowguard.store.database import Database
from flowguard.store.schema import RULES

LASTS = timedelta(days=90)
"""How long a rule counts where nothing else is said."""
LONGEST = timedelta(days=366)
"""At most so long: what was ordinary a year ago has to be said anew."""
LONGEST_WHY, LONGEST_NAME, LONGEST_SCOPE = 2_000, 200, 20_000


@dataclass(frozen=True)
class Rule:
    """One rule: `scope` says, as plain JSON, which records it keeps from being shown, `why` and `who` on whose word.

    It counts for batches that are scored from `made_at` until `expires_at`, or until somebody revoked it. `id` counts
    1, 2, 3, ... within the pipeline; it is 0 before the rule is stored.
    """

    pipeline: str
    scope: Mapping[str, Any]
    why: str
    who: str
    made_at: datetime
    expires_at: datetime
    revoked_by: str | None = None
    revoked_at: datetime | None = None
    id: int = 0

    @property
    def until(self) -> datetime:
        """When it ends or ended."""
        return self.expires_at if self.revoked_at is None else min(self.expires_at, self.revoked_at)

    def active(self, at: datetime) -> bool:
        """Whether it counts for a batch that is scored `at` this moment."""
        return self.made_at <= at < self.until


@dataclass(frozen=True)
class Rules:
    """The table of rules: entries are added; all that is ever changed of one is that it is revoked, once.

    >>> import tempfile
    >>> from flowguard.store import Rule, Store
    >>> now = datetime.now(UTC)
    >>> calm = Rule("meters", {"columns": {"flow": {"is": "above"}}}, "spring cleaning", "ada", now, now + LASTS)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rules = Store.open(f"sqlite:///{folder}/flowguard.db").rules
    ...     one = rules.put(calm)
    ...     gone = rules.revoke("meters", one.id, who="bob")
    ...     (one.active(now), gone.active(gone.revoked_at), rules.all("meters") == [gone])
    (True, False, True)
    """

    database: Database

    def put(self, rule: Rule) -> Rule:
        """Store a new rule, which gets the next id of its pipeline.

        Raises `InputError` for one that cannot be kept: no word on who or why, text that no database holds, no end, or
        one that is farther off than `LONGEST`.
        """
        _check(rule)
        with self.database.writing(lock=f"rules {rule.pipeline}") as connection:
            newest = select(func.coalesce(func.max(RULES.c.id), 0)).where(RULES.c.pipeline == rule.pipeline)
            stored = replace(
                rule,
                made_at=rule.made_at.astimezone(UTC),
                expires_at=rule.expires_at.astimezone(UTC),
                id=int(connection.execute(newest).scalar_one()) + 1,
            )
            row = asdict(stored)
            document = json.dumps(row.pop("scope"), allow_nan=False)
            connection.execute(insert(RULES).values(**row, document=document))
        return stored

    def revoke(self, pipeline: str, id: int, *, who: str, at: datetime | None = None) -> Rule:
        """End a rule now, or `at` a moment: it no longer counts for batches scored from then on.

        Law: of those who revoke it at once one does; the others raise `InputError`, as does revoking one that is not
        there or has expired.
        """
        _words("name", who, LONGEST_NAME)
        when = (at or datetime.now(UTC)).astimezone(UTC)
        mine = (RULES.c.pipeline == pipeline) & (RULES.c.id == index(id))
        with self.database.writing(lock=f"rules {pipeline}") as connection:
            row = connection.execute(select(RULES).where(mine)).one_or_none()
            if row is None:
                count = select(func.count()).select_from(RULES).where(RULES.c.pipeline == pipeline)
                there = int(connection.execute(count).scalar_one())
                told = f"there are rules 1 to {there}" if there else "there is none yet"
                raise InputError(f"{pipeline} has no rule {id}: {told}.")
            rule = _rule(row)
            if rule.revoked_at is not None:
                raise InputError(
                    f"Rule {id} of {pipeline} was revoked by {rule.revoked_by} on "
                    f"{rule.revoked_at:%Y-%m-%d at %H:%M:%S} UTC already."
                )
            if rule.expires_at <= when:
                raise InputError(
                    f"Rule {id} of {pipeline} expired on {rule.expires_at:%Y-%m-%d at %H:%M:%S} UTC: there is nothing "
                    "to revoke."
                )
            connection.execute(update(RULES).where(mine).values(revoked_by=who, revoked_at=when))
        return replace(rule, revoked_by=who, revoked_at=when)

    def all(self, pipeline: str) -> list[Rule]:
        """Every rule that was ever made, in order."""
        query = select(RULES).where(RULES.c.pipeline == pipeline).order_by(RULES.c.id)
        with self.database.reading() as connection:
            return [_rule(row) for row in connection.execute(query)]

    def active(self, pipeline: str, at: datetime | None = None) -> list[Rule]:
        """The rules that count for a batch that is scored now, or `at` a moment, in order."""
        when = at or datetime.now(UTC)
        return [rule for rule in self.all(pipeline) if rule.active(when)]


def _rule(row: Row[Any]) -> Rule:
    columns = row._asdict()
    return Rule(scope=json.loads(columns.pop("document")), **columns)


def _check(rule: Rule) -> None:
    if rule.id or rule.revoked_at is not None or rule.revoked_by is not None:
        raise ValueError("A rule that is added is new: it has no id yet and is not revoked.")
    for moment in (rule.made_at, rule.expires_at):
        if moment.tzinfo is None:
            raise ValueError(f"The time {moment} has no time zone: write datetime.now(UTC), for example.")
    _words("name", rule.who, LONGEST_NAME)
    _words("reason", rule.why, LONGEST_WHY)
    if not timedelta(0) < rule.expires_at - rule.made_at <= LONGEST:
        raise InputError(
            f"A rule ends, after 1 to {LONGEST.days} days; this one was to count until "
            f"{rule.expires_at:%Y-%m-%d}. Give it an end; it can be made anew when it is still wanted then."
        )
    size = len(json.dumps(rule.scope, allow_nan=False))
    if size > LONGEST_SCOPE:
        raise InputError(
            f"The scope of the rule has {size:,} characters; {LONGEST_SCOPE:,} are the most. Name fewer values: a rule "
            "of so many is better said by a column that they have in common."
        )


def _words(what: str, text: str, longest: int) -> None:
    if not text.strip():
        said = "who made or revoked it" if what == "name" else "why what it keeps away is ordinary"
        raise InputError(f"A rule must say {said}.")
    if len(text) > longest:
        raise InputError(
            f"The {what} given for a rule has {len(text):,} characters; {longest:,} are the most. Shorten it."
        )
    # PostgreSQL holds no zero byte, and half a pair of surrogates is no text in UTF-8.
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise InputError(
            f"The {what} of a rule holds a zero byte or bytes that are no text in UTF-8, which no database keeps. "
            "Write it without them."
        )
