"""Doctor: is everything there that the pipelines need? Asks every connection, version, permission, clock, disk and GPU.

Nothing is made, upgraded or changed: a file that is written to try a folder is removed, and a store or registry that is
not there yet stays away. Every check has its seconds, so that a server that hangs does not hold up the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flowguard.errors import InputError
from flowguard.stages.doctor.desk import desk_of
from flowguard.stages.doctor.finding import Answer, Check, Finding, fail, findings, warn
from flowguard.stages.doctor.machine import machine
from flowguard.stages.doctor.notified import notified_of
from flowguard.stages.doctor.project import output_of, pipeline_of, settings_of
from flowguard.stages.doctor.registered import model_of, objects_of, registry_of
from flowguard.stages.doctor.scheduled import schedule_of, server_of
from flowguard.stages.doctor.stored import store_of
from flowguard.stages.workspace import Workspace, store_address

__all__ = ["Diagnosis", "Finding", "doctor"]


@dataclass(frozen=True)
class Diagnosis:
    """All that was found, in order; `well` as long as nothing failed."""

    well: bool
    findings: tuple[Finding, ...]


def doctor(
    files: Sequence[str | Path] = (), *, folder: Path | None = None, heard: Callable[[Finding], None] = lambda _: None
) -> Diagnosis:
    """Check what the pipeline files need, or those in `folder`/pipelines; `heard` is told each finding as it comes.

    `folder` is the project folder, by default the current one.
    """
    found = []
    for finding in _all([Path(file) for file in files], folder or Path.cwd()):
        heard(finding)
        found.append(finding)
    return Diagnosis(all(one.state != "fail" for one in found), tuple(found))


def _all(files: Sequence[Path], folder: Path) -> Iterator[Finding]:
    yield from findings(machine())
    files = files or [_typed(file) for file in sorted((folder / "pipelines").glob("*.y*ml"))]
    opened, unread = _opened(files)
    roots = list(dict.fromkeys(one.pipeline.root for one, _ in opened)) or [folder.absolute()]
    readable = []
    for root in roots:
        said = list(findings(settings_of(root)))
        yield from said
        if all(one.state != "fail" for one in said):
            readable.append(root)
    yield from findings(unread or ([] if files else [_nothing(folder)]))
    workspaces = [(one, shown) for one, shown in opened if one.pipeline.root in readable]
    for one in {one.runs: one for one, _ in workspaces}.values():
        yield from findings(output_of(one))
    for one in {store_address(one.runs, project=one.pipeline.root): one for one, _ in workspaces}.values():
        yield from findings(store_of(one))
    silent: set[object] = set()  # what did not answer is not asked again for each pipeline
    for address, one in {_registry(one): one for one, _ in workspaces}.items():
        yield from _noting(registry_of(one), silent, address)
    for root in readable:
        yield from findings(objects_of(root))
        scheduled = any(one.pipeline.schedule for one, _ in workspaces if one.pipeline.root == root)
        yield from _noting(server_of(root, scheduled=scheduled), silent, root)
    for root in readable:
        yield from findings(next((desk_of(one) for one, _ in workspaces if one.pipeline.root == root), []))
        yield from findings(notified_of(root))
    for one, shown in workspaces:
        yield from findings(pipeline_of(one, shown))
        yield from findings([] if _registry(one) in silent else model_of(one, shown))
        yield from findings([] if one.pipeline.root in silent else schedule_of(one, shown))


def _opened(files: Sequence[Path]) -> tuple[list[tuple[Workspace, Path]], list[Check]]:
    """The pipelines that can be read, and the checks that say why others cannot."""
    opened, unread = [], []
    for file in files:
        try:
            opened.append((Workspace.open(file), file))
        except InputError as error:
            answer = fail(str(error), f"Correct the file, then: flowguard check {file}")
            unread.append(Check(f"pipeline {file.stem}", "file", partial(_same, answer)))
    return opened, unread


def _typed(file: Path) -> Path:
    """`file` as a user would type it here."""
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file


def _nothing(folder: Path) -> Check:
    answer = warn(
        f"there is no pipeline file in {folder / 'pipelines'}", "flowguard init DATA.parquet --out pipelines/my.yaml"
    )
    return Check("project", "pipelines", partial(_same, answer))


def _same(answer: Answer) -> Answer:
    return answer


def _registry(workspace: Workspace) -> tuple[str, str]:
    registry = workspace.registry
    return registry.tracking_uri, registry.registry_uri


def _noting(checks: Sequence[Check], silent: set[object], key: object) -> Iterator[Finding]:
    """What the checks find; `key` becomes one of the `silent` when the first of them fails."""
    for place, finding in enumerate(findings(checks)):
        if place == 0 and finding.state == "fail":
            silent.add(key)
        yield finding
