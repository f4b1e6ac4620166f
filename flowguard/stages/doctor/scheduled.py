"""Prefect, asked over its HTTP interface: does the server answer, are schedules deployed, does somebody run them."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
from packaging.version import InvalidVersion, Version

from flowguard.errors import FlowguardError
from flowguard.registry.health import skew_of
from flowguard.settings import masked, settings
from flowguard.stages.doctor.clock import clock
from flowguard.stages.doctor.finding import Answer, Check, fail, ok, warn
from flowguard.stages.workspace import Workspace

GROUP = "Prefect"
SECONDS = 5.0
_START = "Start it: prefect server start; or correct PREFECT_API_URL."


def server_of(root: Path, *, scheduled: bool) -> list[Check]:
    """The checks of the server; `scheduled` says whether a pipeline has a schedule."""
    url = settings(root).prefect_api_url
    if url is None:
        return [Check(GROUP, "server", lambda: _none(scheduled))]
    return [
        Check(GROUP, "server", lambda: _server(url), _START, gate=True),
        Check(GROUP, "clock", lambda: clock(_skew(url), "the Prefect server")),
    ]


def schedule_of(workspace: Workspace, shown: Path) -> list[Check]:
    """Whether a pipeline's schedule is deployed and somebody runs it; for a server that answers."""
    url, group = settings(workspace.pipeline.root).prefect_api_url, f"pipeline {workspace.pipeline.name}"
    if url is None or workspace.pipeline.schedule is None:
        return []
    return [Check(group, "schedule", lambda: _schedule(url, workspace, shown), _START)]


def _none(scheduled: bool) -> Answer:
    if not scheduled:
        return ok("no server is named: flows run in one of their own")
    return warn(
        "a pipeline has a schedule, and no server is named here (PREFECT_API_URL): it does not fire from here",
        "prefect server start, then set PREFECT_API_URL=http://127.0.0.1:4200/api",
    )


def _server(url: str) -> Answer:
    asked(url, "GET", "/health")
    said = f"{masked(url)}, client {version('prefect')}"
    try:
        theirs = Version(str(asked(url, "GET", "/admin/version")))
    except (InvalidVersion, FlowguardError):
        return ok(said)  # Prefect Cloud does not say
    ours = Version(version("prefect"))
    said = f"{masked(url)}, server {theirs}, client {ours}"
    if theirs.major != ours.major:
        return fail(f"{said}: they do not understand each other", f"pip install 'prefect=={theirs}'")
    if theirs.release[:2] < ours.release[:2]:
        return warn(f"{said}: the server is older", f"Upgrade the server: pip install 'prefect=={ours}'")
    return ok(said)


def _skew(url: str) -> float | None:
    return skew_of(_response(url, "GET", "/health"))


def _schedule(url: str, workspace: Workspace, shown: Path) -> Answer:
    name, schedule = workspace.pipeline.name, workspace.pipeline.schedule
    assert schedule is not None
    wanted = {"deployments": {"tags": {"all_": ["flowguard", name]}}, "limit": 200}
    there = {
        asked(url, "GET", f"/flows/{one['flow_id']}")["name"]: one
        for one in asked(url, "POST", "/deployments/filter", wanted)
        if one["name"] == name
    }
    deploy = f"flowguard deploy {shown}"
    if "score" not in there:
        return fail(f"{schedule.cron} is in the file, and the server has no deployment score/{name}", deploy)
    said = f"{schedule.cron} in {schedule.timezone}"
    # A program that serves flows offers no monitoring; where it is deployed, it must be on as scoring is.
    for flow in ("score", "monitor"):
        if flow not in there:
            continue
        one = there[flow]
        plans = [plan for plan in one["schedules"] if plan["active"] and not one["paused"]]
        if schedule.active is False:
            if plans:
                return warn(f"{flow}/{name} is on, and the file says `active: false`", deploy)
            continue
        if not plans:
            return fail(
                f"{flow}/{name} has no schedule that is on",
                f"{deploy}; or, if it was paused: prefect deployment schedule ls {flow}/{name}",
            )
        deployed = {(plan["schedule"].get("cron"), plan["schedule"].get("timezone") or "UTC") for plan in plans}
        if deployed != {(schedule.cron, schedule.timezone)}:
            told = ", ".join(f"{cron} in {zone}" for cron, zone in sorted(deployed, key=str))
            return warn(f"{told} is deployed as {flow}/{name}, and the file says {said}", deploy)
        trouble = _unattended(url, one, shown)
        if trouble is not None:
            return trouble
    if schedule.active is False:
        return ok(f"{said} is deployed and not active, as the file says")
    return ok(f"{said} is deployed, and somebody runs it")


def _unattended(url: str, deployment: dict[str, Any], shown: Path) -> Answer | None:
    """What keeps the runs of a deployment from being started, or None."""
    pool = deployment.get("work_pool_name")
    if pool is None:  # served by a program that holds the flow itself
        if deployment.get("status") == "READY":
            return None
        return fail("no program serves the deployment: its runs stay scheduled", f"python -m flows.serve {shown}")
    if asked(url, "GET", f"/work_pools/{pool}")["is_paused"]:
        return fail(f"the work pool {pool} is paused", f"prefect work-pool resume {pool}")
    workers = asked(url, "POST", f"/work_pools/{pool}/workers/filter", {})
    if any(worker["status"] == "ONLINE" for worker in workers):
        return None
    last = max((worker["last_heartbeat_time"] or "" for worker in workers), default="")
    heard = f"the last was heard of at {last[:16].replace('T', ' ')} UTC" if last else "none was ever heard of"
    return fail(f"no worker runs the work pool {pool}; {heard}", f"prefect worker start --pool {pool}")


def asked(url: str, method: str, path: str, document: Any = None) -> Any:
    """What the server answers, as JSON; raises `FlowguardError` when it does not, or refuses."""
    response = _response(url, method, path, document)
    where = f"The Prefect server {masked(url)}"
    if response.status_code in (401, 403):
        raise FlowguardError(
            f"{where} refuses these credentials ({response.status_code}). Set PREFECT_API_AUTH_STRING, or "
            "PREFECT_API_KEY for Prefect Cloud."
        )
    try:
        if response.is_success:
            return response.json()
    except ValueError:
        pass
    raise FlowguardError(
        f"{where} answers {response.status_code} to {path}, which is no answer of Prefect's. Does the address end in "
        "/api?"
    )


def _response(url: str, method: str, path: str, document: Any = None) -> httpx.Response:
    secret = os.environ.get("PREFECT_API_AUTH_STRING", "")
    key = os.environ.get("PREFECT_API_KEY", "")
    user, _, password = secret.partition(":")
    try:
        return httpx.request(
            method,
            f"{url.rstrip('/')}{path}",
            json=document,
            timeout=SECONDS,
            auth=(user, password) if secret else None,
            headers={"Authorization": f"Bearer {key}"} if key and not secret else None,
        )
    except httpx.HTTPError as error:
        raise FlowguardError(
            f"The Prefect server {masked(url)} does not answer ({error or type(error).__name__})."
        ) from None
