"""What deploying would change: the deployments that are wanted beside those that a server has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flowguard.errors import InputError

from flows.deployment import PROJECT, SLUG, TAG, Deployment, Schedule  # isort: skip  (first: sets Prefect's defaults)

OURS = ("image",)
"""Job variables that flowguard decides on, beside those of `env` that begin with FLOWGUARD_; all others are left."""
_OUR_ENV = "FLOWGUARD_"


@dataclass(frozen=True)
class There:
    """A deployment that the server has: its facts as `facts` names them, and its schedules with their ids and names."""

    id: UUID
    full_name: str
    tags: tuple[str, ...]
    facts: Mapping[str, Any]
    schedules: tuple[tuple[UUID, str | None, Schedule | None], ...]

    @property
    def project(self) -> str | None:
        """The project it belongs to; None where nothing says so."""
        return (self.facts["job_variables"].get("env") or {}).get(PROJECT)


@dataclass(frozen=True)
class Change:
    """A deployment that is there and becomes another: what it is now and what it will be, by the fact's name."""

    there: There
    wanted: Deployment
    facts: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Difference:
    """What is made, what is changed, what goes, and the names of what stays as it is."""

    create: tuple[Deployment, ...]
    change: tuple[Change, ...]
    remove: tuple[There, ...]
    same: tuple[str, ...]


def facts(wanted: Deployment, there: There | None = None) -> dict[str, Any]:
    """What a server has of a deployment, comparable by `==`; where it is `there`, with what others may decide on."""
    variables = dict(wanted.job_variables)
    if there is not None:
        before = there.facts["job_variables"]
        kept = {name: value for name, value in (before.get("env") or {}).items() if not name.startswith(_OUR_ENV)}
        others = {name: value for name, value in before.items() if name not in (*OURS, "env")}
        variables = {**others, **variables, "env": {**kept, **wanted.job_variables["env"]}}
    return {
        "pool": wanted.pool,
        "entrypoint": wanted.entrypoint,
        "parameters": dict(wanted.parameters),
        "tags": sorted(wanted.tags),
        "description": wanted.description,
        "version": wanted.version,
        "concurrency": 1,
        "collision": wanted.collision,
        "job_variables": variables,
        "pull_steps": [dict(step) for step in wanted.pull_steps],
        "form": dict(wanted.form),
    }


def difference(
    wanted: Sequence[Deployment],
    there: Sequence[There],
    *,
    project: str,
    every: bool,
    take_over: bool = False,
) -> Difference:
    """Compare; `there` are all that carry the tag or a name that is wanted, `every` whether `wanted` is all there is.

    Raises `InputError` where a name that is wanted is somebody else's: without the tag, or another project's unless
    `take_over`. What goes is of this project alone: whatever `wanted` does not name, where it is all, else what it does
    not name of its own pipelines.
    """
    known = {one.full_name: one for one in there}
    create, change, same = [], [], []
    for one in wanted:
        before = known.get(one.full_name)
        if before is None:
            create.append(one)
            continue
        _refuse_foreign(before, project, take_over)
        changed = _changed(one, before)
        if changed:
            change.append(Change(before, one, changed))
        else:
            same.append(one.full_name)
    names, pipelines = {one.full_name for one in wanted}, {one.name for one in wanted}
    ours = [one for one in there if TAG in one.tags and one.project == project and one.full_name not in names]
    gone = [one for one in ours if every or one.full_name.partition("/")[2] in pipelines]
    return Difference(tuple(create), tuple(change), tuple(gone), tuple(same))


def settled(wanted: Schedule | None, there: There) -> Schedule | None:
    """The schedule with `active` decided: as the pipeline file says, or else as it is on the server."""
    if wanted is None or wanted.active is not None:
        return wanted
    active = [schedule.active for _, _, schedule in there.schedules if schedule is not None]
    return Schedule(wanted.cron, wanted.timezone, active[0] is not False if len(active) == 1 else True)


def _changed(wanted: Deployment, there: There) -> dict[str, tuple[Any, Any]]:
    after = facts(wanted, there)
    changed = {name: (there.facts.get(name), value) for name, value in after.items() if there.facts.get(name) != value}
    schedule = settled(wanted.schedule, there)
    now = [(slug, known) for _, slug, known in there.schedules]
    if now != ([] if schedule is None else [(SLUG, schedule)]):
        before = ["no cron" if known is None else in_words(known) for _, known in now]
        changed["schedule"] = (", ".join(before) or "none", in_words(schedule))
    return changed


def in_words(schedule: Schedule | None) -> str:
    """A schedule in a few words.

    >>> in_words(Schedule("0 6 * * *", "UTC", False))
    '0 6 * * * UTC, not active'
    """
    if schedule is None:
        return "none"
    return f"{schedule.cron} {schedule.timezone}{', not active' if schedule.active is False else ''}"


def _refuse_foreign(there: There, project: str, take_over: bool) -> None:
    if TAG not in there.tags:
        raise InputError(
            f"The server has a deployment {there.full_name} that is not flowguard's (it lacks the tag {TAG!r}): it is "
            "left alone, and nothing was changed. Give the pipeline another `name`, or delete that deployment."
        )
    if there.project not in (None, project) and not take_over:
        raise InputError(
            f"{there.full_name} belongs to the project {there.project}, this one is {project}: nothing was changed. "
            "Give the pipeline another `name`, or deploy with --take-over if that project is no more."
        )
