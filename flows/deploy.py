"""Bring a Prefect server's deployments in line with the pipeline files; `flowguard deploy` is the way to start it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.local import need_server  # isort: skip  (sets Prefect's defaults before it is imported)

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateName,
)
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from flowguard.errors import FlowguardError, InputError

from flows.deployment import (  # isort: skip  (after Prefect's defaults)
    GPU,
    SLUG,
    TAG,
    Deployment,
    Project,
    Schedule,
    deployments_of,
)
from flows.difference import Change, Difference, There, difference, facts, in_words, settled
from flows.prefect_yaml import prefect_yaml

TYPES = ("process", "docker", "kubernetes")
_PAGE = 200
_PATCHED = {
    "pool": "work_pool_name",
    "concurrency": "concurrency_limit",
    "form": "parameter_openapi_schema",
}


@dataclass(frozen=True)
class Deployed:
    """What was done, or with `dry_run` what would be; `changed` has of each name what each fact was and became."""

    server: str
    project: str
    dry_run: bool
    pools: tuple[str, ...]
    created: Mapping[str, str]
    changed: Mapping[str, Mapping[str, tuple[Any, Any]]]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]


def deploy(
    project: Project,
    files: Sequence[Path] = (),
    *,
    pool_type: str = "process",
    dry_run: bool = False,
    take_over: bool = False,
) -> Deployed:
    """Make, change and remove deployments until the server has what the pipeline files say; nothing else is touched.

    Of `files`, or else of everything in pipelines/: then what the folder no longer has disappears from the server.
    Everything is looked at before anything is changed, and what is as it should be is not written. Raises
    `InputError` where something does not fit, `FlowguardError` when the server refuses.
    """
    pipelines = project.pipelines(files)
    wanted = [one for pipeline in pipelines for one in deployments_of(pipeline, project)]
    server = need_server()
    try:
        with get_client(sync_client=True) as client:
            there = _there(client, wanted)
            found = difference(wanted, there, project=project.name, every=not files, take_over=take_over)
            if not (wanted or found.remove):
                raise InputError(
                    f"{project.folder / 'pipelines'} has no pipeline file. Make one with `flowguard init`."
                )
            missing = _missing_pools(client, wanted, pool_type, project)
            if not dry_run:
                _apply(client, found, missing, pool_type)
    except PrefectHTTPStatusError as error:
        said = error.response.text[:500]
        raise FlowguardError(f"The Prefect server at {server} refused ({error.response.status_code}): {said}") from None
    return Deployed(
        server=server,
        project=project.name,
        dry_run=dry_run,
        pools=tuple(missing),
        created={one.full_name: f"pool {one.pool}, schedule {in_words(one.schedule)}" for one in found.create},
        changed={one.wanted.full_name: one.facts for one in found.change},
        removed=tuple(one.full_name for one in found.remove),
        unchanged=found.same,
    )


def declared(project: Project, files: Sequence[Path] = ()) -> str:
    """The same deployments as a prefect.yaml, which `prefect deploy --all` takes; no server is asked."""
    wanted = [one for pipeline in project.pipelines(files) for one in deployments_of(pipeline, project)]
    return prefect_yaml(project, wanted)


def _there(client: SyncPrefectClient, wanted: Sequence[Deployment]) -> list[There]:
    """Every deployment with the tag, and those whose names are wanted, whosever they are."""
    found: dict[str, There] = {}
    flows: dict[Any, str] = {}
    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    page: list[DeploymentResponse] = []
    offset = 0
    while offset == 0 or len(page) == _PAGE:
        page = client.read_deployments(deployment_filter=tagged, limit=_PAGE, offset=offset)
        offset += _PAGE
        for response in page:
            if response.flow_id not in flows:
                flows[response.flow_id] = client.read_flow(response.flow_id).name
            one = _read(response, flows[response.flow_id])
            found[one.full_name] = one
    for deployment in wanted:
        if deployment.full_name not in found:
            try:
                response = client.read_deployment_by_name(deployment.full_name)
            except ObjectNotFound:
                continue
            found[deployment.full_name] = _read(response, deployment.flow)
    return list(found.values())


def _read(response: DeploymentResponse, flow: str) -> There:
    limit, options = response.global_concurrency_limit, response.concurrency_options
    schedules = []
    for one in response.schedules:
        cron = one.schedule if isinstance(one.schedule, CronSchedule) else None
        known = None if cron is None else Schedule(cron.cron, cron.timezone or "UTC", one.active)
        schedules.append((one.id, one.slug, known))
    return There(
        id=response.id,
        full_name=f"{flow}/{response.name}",
        tags=tuple(response.tags),
        facts={
            "pool": response.work_pool_name,
            "entrypoint": response.entrypoint,
            "parameters": response.parameters,
            "tags": sorted(response.tags),
            "description": response.description or "",
            "version": response.version,
            "concurrency": None if limit is None else limit.limit,
            "collision": None if options is None else options.collision_strategy.value,
            "job_variables": response.job_variables,
            "pull_steps": response.pull_steps or [],
            "form": response.parameter_openapi_schema,
        },
        schedules=tuple(schedules),
    )


def _missing_pools(
    client: SyncPrefectClient, wanted: Sequence[Deployment], pool_type: str, project: Project
) -> list[str]:
    """The pools to be made. Containers need an image, processes have none: `InputError` says which is missing."""
    missing = []
    for name in sorted({one.pool for one in wanted}):
        try:
            kind = client.read_work_pool(name).type
        except ObjectNotFound:
            missing.append(name)
            kind = pool_type
        if kind == "process" and project.image is not None:
            raise InputError(
                f"Work pool {name!r} is of type process, where runs are processes of the worker's machine, and --image "
                f"was given. Leave it out, or make the pool anew: `prefect work-pool delete {name}`, then deploy with "
                "--type docker."
            )
        if kind in ("docker", "kubernetes") and project.image is None:
            raise InputError(
                f"Work pool {name!r} is of type {kind}: runs are containers. Name the image with flowguard and the "
                "project in it, and its folder there: --image IMAGE --folder /project."
            )
    return missing


def _apply(client: SyncPrefectClient, found: Difference, pools: Sequence[str], pool_type: str) -> None:
    if pools:
        templates = {
            kind: worker["default_base_job_configuration"]
            for collection in client.read_worker_metadata().values()
            for kind, worker in collection.items()
        }
        for name in pools:
            client.create_work_pool(
                WorkPoolCreate(
                    name=name,
                    type=pool_type,
                    description=f"flowguard's runs on the {name.upper()}",
                    base_job_template=templates[pool_type],
                    # One training at a time has the GPU; raise it where there are more.
                    concurrency_limit=1 if name == GPU else None,
                )
            )
    for deployment in found.create:
        _create(client, deployment)
    for change in found.change:
        _update(client, change)
    for gone in found.remove:
        _drop_waiting(client, gone)
        client.delete_deployment(gone.id)


def _create(client: SyncPrefectClient, deployment: Deployment) -> None:
    known = facts(deployment)
    schedule = deployment.schedule
    client.create_deployment(
        client.create_flow_from_name(deployment.flow),
        deployment.name,
        version=deployment.version,
        schedules=[] if schedule is None else [_schedule(schedule)],
        concurrency_limit=known["concurrency"],
        concurrency_options=_options(deployment.collision),
        parameters=known["parameters"],
        description=deployment.description,
        work_pool_name=deployment.pool,
        tags=known["tags"],
        entrypoint=deployment.entrypoint,
        parameter_openapi_schema=known["form"],
        pull_steps=known["pull_steps"],
        enforce_parameter_schema=True,
        job_variables=known["job_variables"],
    )


def _update(client: SyncPrefectClient, change: Change) -> None:
    there, after = change.there, facts(change.wanted, change.there)
    # The pool's checks are of job variables and parameters together: these are always named.
    named = {*change.facts, "tags", "job_variables", "parameters"} - {"schedule", "collision"}
    patch = {_PATCHED.get(name, name): after[name] for name in named}
    if "collision" in change.facts:
        patch["concurrency_options"] = _options(change.wanted.collision)
    client.update_deployment(there.id, DeploymentUpdate(**patch))
    if "schedule" not in change.facts:
        return
    # An update cannot take a schedule away, and its runs that wait for their turn would stay: both go here.
    for id_, _, _ in there.schedules:
        client.delete_deployment_schedule(there.id, id_)
    _drop_waiting(client, there)
    schedule = settled(change.wanted.schedule, there)
    if schedule is not None:
        client.create_deployment_schedules(there.id, [_schedule(schedule)])


def _drop_waiting(client: SyncPrefectClient, there: There) -> None:
    """Delete the runs that a schedule started and that wait behind another one; those at work are left to end."""
    waiting = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[there.id]),
        state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["AwaitingConcurrencySlot"])),
    )
    for run in client.read_flow_runs(flow_run_filter=waiting, limit=_PAGE):
        if run.auto_scheduled:
            client.delete_flow_run(run.id)


def _schedule(schedule: Schedule) -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(
        schedule=CronSchedule(cron=schedule.cron, timezone=schedule.timezone),
        active=schedule.active is not False,
        slug=SLUG,
    )


def _options(collision: str) -> ConcurrencyOptions:
    return ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy(collision))
