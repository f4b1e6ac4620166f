"""Turn every file in pipelines/ into Prefect deployments; deploying again changes only what changed."""

from __future__ import annotations

import importlib
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from flowguard.cli import output
from flowguard.errors import InputError

EXAMPLE = "flowguard deploy --dry-run"
FILES = typer.Argument(
    None, metavar="[FILE...]", help="Pipeline files; default: all in pipelines/, and what is gone there is removed."
)


class PoolType(StrEnum):
    """What runs the flows of a work pool."""

    process = "process"
    docker = "docker"
    kubernetes = "kubernetes"


def command(
    files: list[Path] = FILES,
    dry_run: bool = typer.Option(False, "--dry-run", help="Print what would change, and change nothing."),
    project: Path = typer.Option(Path(), help="The project folder, with flows/ and pipelines/."),
    name: str | None = typer.Option(
        None, help="The project's name on the server, which tells its deployments from others'. Default: its folder."
    ),
    pool_type: PoolType = typer.Option(PoolType.process, "--type", help="Of work pools that are not there yet."),
    image: str | None = typer.Option(None, help="The image with flowguard and the project, for containers."),
    folder: str | None = typer.Option(None, help="The project folder where runs work, such as /project in an image."),
    prefect_yaml: str | None = typer.Option(
        None, metavar="FILE", help="Deploy nothing: write what `prefect deploy --all` takes (- prints it)."
    ),
    take_over: bool = typer.Option(False, "--take-over", help="Also change deployments of another project's name."),
    as_json: bool = output.JSON,
) -> None:
    if not (project / "flows" / "deploy.py").exists():
        raise InputError(
            f"Flows are deployed from a checkout of flowguard: {project.resolve()} has no flows/deploy.py. Change to "
            "the checkout's folder, or name it with --project."
        )
    from flowguard.settings import settings

    settings(project.resolve())  # the server's address may stand in flowguard.toml; Prefect reads the environment alone
    sys.path.insert(0, str(project.resolve()))
    from_checkout = importlib.import_module("flows.deploy")

    where = from_checkout.Project.at(project, name=name, there=folder, image=image)
    if prefect_yaml is not None:
        _write(from_checkout.declared(where, files or ()), prefect_yaml, as_json)
        return
    done = from_checkout.deploy(where, files or (), pool_type=pool_type.value, dry_run=dry_run, take_over=take_over)
    output.emit(done, as_json, lambda: _tell(done))


def _write(text: str, path: str, as_json: bool) -> None:
    if path == "-":
        print(json.dumps({"prefect_yaml": text}) if as_json else text, end="")
        return
    Path(path).write_text(text, encoding="utf-8")

    def tell() -> None:
        output.say(f"Wrote {path}.")
        output.next_commands(f"prefect --no-prompt deploy --all --prefect-file {path}")

    output.emit({"path": path}, as_json, tell)


def _tell(done: Any) -> None:
    for pool in done.pools:
        output.say(f"+ work pool {pool}")
    for name, words in done.created.items():
        output.say(f"+ {name}    {words}")
    for name, changes in done.changed.items():
        output.say(f"~ {name}")
        for fact, (before, after) in changes.items():
            output.say(f"    {fact}: {_shown(fact, before, after)}")
    for name in done.removed:
        output.say(f"- {name}")
    counts = [
        f"{len(found)} {what}"
        for found, what in (
            (done.created, "made"),
            (done.changed, "changed"),
            (done.removed, "removed"),
            (done.unchanged, "as they were"),
        )
        if found
    ]
    nothing = not (done.pools or done.created or done.changed or done.removed)
    said = f"Nothing to change at {done.server}" if nothing else f"{', '.join(counts)} at {done.server}"
    if nothing:
        output.say(f"{said}: {len(done.unchanged)} deployments are as the pipeline files say.")
    else:
        output.say(f"{'A dry run, nothing was done. It would be: ' if done.dry_run else 'Deployments: '}{said}.")
    if done.dry_run and not nothing:
        output.next_commands("flowguard deploy")
    else:
        pools = sorted({"cpu", *done.pools})
        output.next_commands(
            *(f"prefect worker start --pool {pool}    # on each machine that is to run flows" for pool in pools),
            "prefect deployment run score/PIPELINE    # without waiting for the schedule",
        )


def _shown(fact: str, before: Any, after: Any) -> str:
    """One change; of long documents only that they changed."""
    if fact == "form":
        return "the parameters that a run may be given"
    before, after = (_plain(value) for value in (before, after))
    return f"{before} -> {after}"


def _plain(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(output.plain(value), ensure_ascii=False, sort_keys=True)
    return "none" if value is None else str(value)
