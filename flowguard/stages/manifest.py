"""The manifest of a scored batch: written last, so that what it names is whole and what it does not name never counts.

It is also the only place for times and run ids: the Parquet files of a rerun have the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from flowguard.calibration import Policy, read_policy
from flowguard.errors import FlowguardError
from flowguard.stages.p_values import PValues
from flowguard.tables import atomic_json


@dataclass(frozen=True)
class Manifest:
    """What happened to one batch under one version.

    `fingerprint` identifies the batch's data whatever its order and chunking, `stamp` the state of the source files it
    was read from (equal stamp: nothing to read again), `bundle` the digest of the version. `files` maps `scores`,
    `reasons` and `quarantine` to paths below the pipeline's folder. `quarantined` counts refused records by reason.

    `policy` is the rule, `level` the p-value at or below which it flagged (0 for none), `guarantee` and `note` what it
    promises and what hindered it, in words; `cells` has of each calibration cell the records scored and flagged.
    `history` places the batch in a budget that batches share: its number and the discoveries before it, else None.
    `calibrated` are the first and last day of the calibration records, None where they have none. Where records are
    ranked by age, `reference` says what the batch's were ranked among and `thresholds` what came of it in each cell.
    `pruned` says what retention took away, `scores` or `review` (the batch's place in the queue): `at` what moment and
    `by` which rule of the pipeline file; None for nothing.
    `p_values` is their histogram, None in manifests of earlier releases.
    """

    pipeline: str
    batch: str
    model: str
    version: int
    bundle: str
    fingerprint: str
    stamp: str
    read: int
    scored: int
    flagged: int
    quarantined: dict[str, int]
    score: str
    policy: dict[str, Any]
    level: float
    guarantee: str
    note: str | None
    cells: dict[str, list[int]]
    history: dict[str, int] | None
    files: dict[str, str]
    quantiles: dict[str, float]
    started: str
    seconds: float
    run: str | None
    calibrated: list[str] | None = None
    reference: dict[str, Any] | None = None
    thresholds: dict[str, float] | None = None
    pruned: dict[str, dict[str, str]] | None = None
    p_values: PValues | None = None

    @property
    def rule(self) -> Policy:
        """The policy."""
        return read_policy(self.policy)

    @property
    def threshold(self) -> float | None:
        """The lowest of the batch's own thresholds, None where those of its version stand."""
        return None if self.thresholds is None else min(self.thresholds.values())

    @property
    def asked_share(self) -> float:
        """The share of ordinary records that may be flagged; NaN under policies that promise something else."""
        return float(self.policy.get("false_alarm_rate", math.nan))

    @property
    def quarantined_total(self) -> int:
        """Records that could not be scored; read = scored + quarantined."""
        return sum(self.quarantined.values())

    def was_pruned(self, what: str) -> bool:
        """Whether retention took its `scores`, or its place in the queue (`review`)."""
        return what in (self.pruned or {})


def manifest_path(folder: Path, batch: str, version: int) -> Path:
    """Where the manifest of a batch under a version lies."""
    return folder / "manifests" / f"batch={batch}" / f"version={version}.json"


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Put the manifest in place: from here on the batch counts."""
    path = manifest_path(folder, manifest.batch, manifest.version)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_json(path, asdict(manifest))
    return path


def read_manifest(path: Path) -> Manifest | None:
    """The manifest at `path`, or None when there is none; raises `FlowguardError` when it is damaged."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        # What earlier releases did not write has a default.
        known = [field.name for field in fields(Manifest) if field.default is MISSING or field.name in document]
        values = {name: document[name] for name in known}
        if values.get("p_values") is not None:
            values["p_values"] = PValues(**values["p_values"])
        return Manifest(**values)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise FlowguardError(
            f"The manifest {path} cannot be read ({type(error).__name__}: {error}). "
            "Delete that file and score the batch again."
        ) from None


def manifests(folder: Path, *, batch: str | None = None, version: int | None = None) -> Iterator[Manifest]:
    """All manifests of a pipeline, by batch and then version."""
    pattern = f"batch={batch or '*'}/version={version or '*'}.json"
    paths = (folder / "manifests").glob(pattern)
    for path in sorted(paths, key=lambda p: (p.parent.name, int(p.stem.removeprefix("version=")))):
        manifest = read_manifest(path)
        if manifest is not None:
            yield manifest


def latest(folder: Path) -> dict[str, Manifest]:
    """For every scored batch the manifest of the version that scored it last."""
    newest: dict[str, Manifest] = {}
    for manifest in manifests(folder):
        known = newest.get(manifest.batch)
        if known is None or manifest.started >= known.started:
            newest[manifest.batch] = manifest
    return newest
