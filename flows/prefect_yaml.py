"""The deployments as a prefect.yaml, for those who would rather use Prefect's own command."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from ruamel.yaml import YAML

from flows.deployment import SLUG, Deployment, Project  # isort: skip  (first: sets Prefect's defaults)


def prefect_yaml(project: Project, wanted: Sequence[Deployment]) -> str:
    """A file that `prefect deploy --all` takes in the project folder; it makes no work pools and removes nothing."""
    pools = sorted({one.pool for one in wanted})
    head = [
        "# Written by `flowguard deploy --prefect-yaml`; write it anew when a pipeline file changes. Where flows/ is:",
        *(f"#   prefect work-pool create {pool} --type {'docker' if project.image else 'process'}" for pool in pools),
        "#   prefect --no-prompt deploy --all",
        "# Prefect neither removes a deployment that is no longer here nor a schedule: `flowguard deploy` does.",
    ]
    document = {
        "name": "flowguard",
        "deployments": [_entry(one) for one in wanted],
    }
    stream = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 120
    yaml.dump(document, stream)
    return "\n".join([*head, stream.getvalue()])


def _entry(one: Deployment) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": one.name,
        "version": one.version,
        "description": one.description,
        "tags": list(one.tags),
        "entrypoint": one.entrypoint,
        "parameters": dict(one.parameters),
        "enforce_parameter_schema": True,
        "concurrency_limit": {"limit": 1, "collision_strategy": one.collision},
        "work_pool": {"name": one.pool, "job_variables": _copied(one.job_variables)},
        "pull": [_copied(step) for step in one.pull_steps],
        "schedules": [],
    }
    if one.schedule is not None:
        when: dict[str, Any] = {"cron": one.schedule.cron, "timezone": one.schedule.timezone, "slug": SLUG}
        if one.schedule.active is not None:
            when["active"] = one.schedule.active
        entry["schedules"] = [when]
    return entry


def _copied(value: Any) -> Any:
    """A copy without shared parts, which YAML would write as anchors."""
    if isinstance(value, dict):
        return {name: _copied(inner) for name, inner in value.items()}
    return value
