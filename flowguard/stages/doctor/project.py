"""The project's own files: settings, pipeline files, the data they name, the output folder, the device they want."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flowguard.settings import Settings, settings
from flowguard.stages.check import check
from flowguard.stages.doctor.finding import Answer, Check, fail, ok, warn
from flowguard.stages.doctor.machine import room
from flowguard.stages.workspace import Workspace

GROUP = "project"
DATA_SECONDS = 60.0
TORCH_SECONDS = 60.0  # the first import of torch on a busy machine


def settings_of(root: Path) -> list[Check]:
    """The check of the project's settings."""
    return [Check(GROUP, "settings", lambda: _settings(root), "Correct it; docs/settings.md has every key.", gate=True)]


def output_of(workspace: Workspace) -> list[Check]:
    """The checks of an output folder."""
    runs = workspace.runs
    return [
        Check(GROUP, "output folder", lambda: writable(runs), gate=True),
        Check(GROUP, "disk", lambda: room(runs, "the pipeline's output.folder")),
    ]


def pipeline_of(workspace: Workspace, shown: Path) -> list[Check]:
    """The checks of a pipeline file that could be read; `shown` is how the user types it."""
    group = f"pipeline {workspace.pipeline.name}"
    again = f"flowguard check {shown}"
    return [
        Check(group, "file", lambda: ok(f"{shown}")),
        Check(group, "data", lambda: _data(workspace), f"Correct {shown} or the data, then: {again}", DATA_SECONDS),
        Check(group, "device", lambda: _device(workspace, shown), seconds=TORCH_SECONDS),
        *([Check(group, "time zone", lambda: _zone(workspace, shown))] if workspace.pipeline.schedule else []),
    ]


def _settings(root: Path) -> Answer:
    given = settings(root)
    said = [f"{name} from {origin}" for name, (_, origin) in given.shown().items()]
    found = "; ".join(said) or "none: everything lies in the output folder"
    exposed = _exposed(given)
    if exposed is not None:
        return warn(
            f"{found}; {given.file} holds a password and others of this machine may read it",
            f"chmod 600 {given.file} (better: give {exposed} as an environment variable)",
        )
    if given.file is not None:
        return ok(f"{given.file}: {found}")
    return ok(found)


def _exposed(given: Settings) -> str | None:
    """The setting whose password anybody on this machine may read, if there is one."""
    file = given.file
    if file is None or os.name == "nt" or not stat.S_IMODE(file.stat().st_mode) & (stat.S_IRGRP | stat.S_IROTH):
        return None
    from_file = [name for name in given.shown() if given.origin(name) == file.name]
    return next((name for name in from_file if given.holds_secret(name)), None)


def writable(folder: Path) -> Answer:
    """Whether files can be made in `folder`, or in what it would be made in; the one that is tried is removed."""
    absolute = folder.absolute()
    above = next(one for one in (absolute, *absolute.parents) if one.exists())
    remedy = f"Let this user write there (chown or chmod u+rwx {above}), or name another output.folder in the pipeline."
    if not above.is_dir():
        return fail(f"{folder} cannot be made: {above} is a file, not a folder", f"Move {above} away, or name another "
                    "output.folder in the pipeline.")  # fmt: skip
    try:
        with tempfile.NamedTemporaryFile(dir=above, prefix=".flowguard-doctor-") as file:
            file.write(b"0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return fail(f"{folder} cannot be written to: {error.strerror} ({above})", remedy)
    return ok(str(folder) if above == absolute else f"{folder}, which the first run makes")


def _data(workspace: Workspace) -> Answer:
    checked = check(workspace.pipeline.path)
    spec, source = workspace.resolved(), workspace.source()
    columns = list(dict.fromkeys(use.column for use in spec.uses()))
    next(iter(source.read(columns, batch=source.find_batch(checked.last_batch))), None)
    batches = f"{checked.batches:,} batches, {checked.first_batch} to {checked.last_batch}"
    return ok(f"{checked.rows:,} records in {batches}; the last one was read")


def _device(workspace: Workspace, shown: Path) -> Answer:
    resources = workspace.pipeline.resources
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if resources.device != "cpu":
        import torch

        if torch.cuda.is_available():
            free, total = torch.cuda.mem_get_info()
            torch.ones(8, device="cuda").sum().item()  # a driver that is too old fails here, not above
            return ok(f"{torch.cuda.get_device_name()}, {free / 2**30:.0f} GB free of {total / 2**30:.0f}")
        if resources.device == "cuda":
            return fail(
                f"resources.device is cuda, and torch {torch.__version__} sees no CUDA device",
                f"Set `device: auto` in {shown}, or run on a machine with a GPU and a CUDA build of torch "
                "(pip install torch --index-url https://download.pytorch.org/whl/cu126).",
            )
        if shutil.which("nvidia-smi"):
            return warn(
                f"there is a GPU (nvidia-smi), and torch {torch.__version__} cannot use it: runs are on the CPU",
                "pip install torch --index-url https://download.pytorch.org/whl/cu126",
            )
    if resources.threads > cores:
        return warn(
            f"resources.threads is {resources.threads}, and this machine has {cores} cores for it: they wait for each "
            "other",
            f"Set `threads: {cores}` in {shown}.",
        )
    return ok(f"CPU, {resources.threads} of {cores} cores")


def _zone(workspace: Workspace, shown: Path) -> Answer:
    schedule = workspace.pipeline.schedule
    assert schedule is not None
    try:
        ZoneInfo(schedule.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        return fail(
            f"{schedule.timezone} is unknown here: no time zone database has it",
            f"pip install tzdata, or correct schedule.timezone in {shown}.",
        )
    return ok(f"{schedule.cron} in {schedule.timezone}")
