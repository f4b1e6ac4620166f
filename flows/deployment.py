"""What is deployed of a pipeline file: its flows, each with where and how often it runs, and what if runs collide."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.local import HOURS  # isort: skip  (sets Prefect's defaults before it is imported)

from prefect.flows import Flow
from prefect.utilities.callables import parameter_schema

from flowguard import __version__
from flowguard.errors import InputError
from flowguard.spec import Pipeline, load_pipeline

from flows.enqueue import enqueue  # isort: skip  (after Prefect's defaults)
from flows.monitor import monitor
from flows.prune import prune
from flows.recalibrate import recalibrate
from flows.score import score
from flows.train import train

TAG = "flowguard"
"""On every deployment of flowguard, and on its runs; what does not carry it is never touched."""
PROJECT = "FLOWGUARD_PROJECT"
"""The job variable (in `env`) that says which project a deployment belongs to."""
SLUG = "flowguard"
"""The name of the one schedule of a deployment."""
CPU, GPU = "cpu", "gpu"
IN_FOLDER = "prefect.deployments.steps.set_working_directory"
COLLISIONS = {"enqueue": "ENQUEUE", "cancel": "CANCEL_NEW"}
FLOWS: tuple[tuple[Flow[..., Any], str], ...] = (
    (score, "Scores every new batch and queues what was flagged for review."),
    (monitor, "Looks whether the batch that is due is there, and sums up the drift."),
    (train, "Trains the next version, the challenger."),
    (recalibrate, "New thresholds for the weights of a version, as a challenger."),
    (enqueue, "Puts scored batches into the queue of the desk."),
    (prune, "Removes what is old, as the file's `retention` says."),
)
_PROJECT = re.compile(r"^[\w./@:-]{1,200}$")


@dataclass(frozen=True)
class Schedule:
    """When runs start; `active` None: as it is on the server."""

    cron: str
    timezone: str
    active: bool | None = None


@dataclass(frozen=True)
class Deployment:
    """One flow on one pipeline. At most one run at a time; `collision` is what becomes of another."""

    flow: str
    name: str
    pool: str
    entrypoint: str
    parameters: Mapping[str, Any]
    tags: tuple[str, ...]
    description: str
    version: str
    schedule: Schedule | None
    collision: str
    job_variables: Mapping[str, Any]
    pull_steps: tuple[Mapping[str, Any], ...]
    form: Mapping[str, Any] = field(repr=False)

    @property
    def full_name(self) -> str:
        """The flow and the pipeline, such as `score/flights`."""
        return f"{self.flow}/{self.name}"


@dataclass(frozen=True)
class Project:
    """The folder with flows/ and pipelines/, and where runs find it: in `there`, in containers of `image` if any.

    `name` tells its deployments from those of other projects on the same server; default: the folder.
    """

    folder: Path
    name: str
    there: str
    image: str | None = None

    @classmethod
    def at(
        cls, folder: Path, *, name: str | None = None, there: str | None = None, image: str | None = None
    ) -> Project:
        """The project in `folder`; `InputError` when its flows are not there, or an image lacks what it needs."""
        folder = folder.resolve()
        if not (folder / "flows" / "score.py").exists():
            raise InputError(
                f"Flows are deployed from a checkout of flowguard: {folder} has no flows/score.py. Change to the "
                "checkout's folder, or name it with --project."
            )
        if image is not None and there is None:
            raise InputError(
                "--image is given without --folder: expected the folder in the image that holds flows/ and pipelines/, "
                "such as --folder /project."
            )
        name = str(folder) if name is None else name
        if not _PROJECT.match(name):
            raise InputError(f"--name {name!r}: expected letters, digits and . / @ : _ - (at most 200).")
        return cls(folder, name, str(folder) if there is None else there, image)

    def pipelines(self, files: Sequence[Path] = ()) -> list[Pipeline]:
        """Those in `files`, or every one in pipelines/; raises `PipelineError`, or `InputError` for two of a name."""
        folder = self.folder / "pipelines"
        if not files and not folder.is_dir():
            raise InputError(f"{self.folder} has no folder pipelines/. Name the pipeline files, or the --project.")
        found = files or sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
        known: dict[str, Pipeline] = {}
        for path in found:
            pipeline = load_pipeline(path)
            if pipeline.name in known:
                raise InputError(
                    f"{known[pipeline.name].path} and {pipeline.path} are both named {pipeline.name!r}; give one of "
                    "them another `name`."
                )
            known[pipeline.name] = pipeline
        return list(known.values())

    def path_of(self, pipeline: Pipeline) -> str:
        """The pipeline file as a run in `there` opens it."""
        if pipeline.path.is_relative_to(self.folder):
            return pipeline.path.relative_to(self.folder).as_posix()
        if self.there != str(self.folder):
            raise InputError(
                f"{pipeline.path} lies outside of the project folder {self.folder}: runs in {self.there} would not "
                "find it. Move it to pipelines/, or deploy without --folder and --image."
            )
        return str(pipeline.path)


def deployments_of(pipeline: Pipeline, project: Project) -> list[Deployment]:
    """The deployments of one pipeline file. Scoring, monitoring and pruning follow its schedule, the others wait.

    Where the file has no `retention`, nothing is deployed that removes anything.
    A training goes to the pool `gpu` where the file says `device: cuda`; all else runs on the CPU.
    """
    when, resources = pipeline.schedule, pipeline.resources
    schedule = None if when is None else Schedule(when.cron, when.timezone, when.active)
    env = {PROJECT: project.name}
    if resources.hours is not None:
        env[HOURS] = f"{resources.hours:g}"
    variables: dict[str, Any] = {"env": env}
    if project.image is not None:
        variables["image"] = project.image
    digest = hashlib.sha256(pipeline.path.read_bytes()).hexdigest()[:8]
    return [
        Deployment(
            flow=flow.name,
            name=pipeline.name,
            pool=GPU if flow is train and resources.device == "cuda" else CPU,
            entrypoint=f"flows/{flow.name}.py:{flow.name}",
            parameters={"pipeline": project.path_of(pipeline)},
            tags=tuple(sorted({TAG, pipeline.name})),
            description=f"{purpose} {pipeline.description}".strip(),
            version=f"{__version__}-{digest}",
            schedule=schedule if flow in (score, monitor, prune) else None,
            collision=COLLISIONS[when.collision if when is not None and flow is score else "enqueue"],
            job_variables=variables,
            pull_steps=({IN_FOLDER: {"directory": project.there}},),
            form=parameter_schema(flow).model_dump(exclude_unset=True),
        )
        for flow, purpose in FLOWS
        if flow is not prune or pipeline.retention.asked
    ]
