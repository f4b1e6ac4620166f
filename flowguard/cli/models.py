"""The registered versions, their aliases and figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flowguard.cli import output

if TYPE_CHECKING:
    from flowguard.review import Quality

EXAMPLE = "flowguard models flights"
RUNS = typer.Option(
    Path("runs"),
    "--runs",
    help="The output folder that holds the registry (unless MLFLOW_TRACKING_URI is set).",
)


def command(
    name: str | None = typer.Argument(None, metavar="[NAME]", help="A pipeline's name; default: all."),
    runs: Path = RUNS,
    as_json: bool = output.JSON,
) -> None:
    from flowguard.stages.models import journal, models, reviewed

    versions = models(runs, name)
    changes = journal(runs, name) if name and versions else []
    known = reviewed(runs, name) if name and versions else {}
    judged = {number: one for number, one in known.items() if one.precision.enough or one.missed.enough}

    def tell() -> None:
        rows = [
            [
                version.name,
                version.version,
                ", ".join(version.aliases),
                f"{version.metrics['best_validation_nll']:.3f}" if "best_validation_nll" in version.metrics else "",
                output.percent(version.metrics["holdout_observed"]) if "holdout_observed" in version.metrics else "",
                version.tags.get("calibrated_to", ""),
                f"{version.created:%Y-%m-%d %H:%M}",
                version.digest[:12],
            ]
            for version in versions
        ]
        columns = [
            "model",
            "version",
            "aliases",
            "validation nats",
            "hold-out flagged",
            "calibrated to",
            "created (UTC)",
            "bundle",
        ]
        if any("gate" in version.tags for version in versions):
            columns.append("gate")
            for row, version in zip(rows, versions):
                row.append(version.tags.get("gate", ""))
        if judged:
            columns += ["precision by verdicts", "missed by verdicts"]
            ranked = any(one.auroc.enough for one in judged.values())
            columns += ["AUROC by verdicts"] if ranked else []
            for row, version in zip(rows, versions):
                row += told(judged.get(version.version))[: 3 if ranked else 2]
        if rows:
            output.table("Registered versions", columns, rows, right=("version", "validation nats", "hold-out flagged"))
            for version in versions:
                if "excluded" in version.tags:
                    output.say(f"Version {version.version} of {version.name} is without {version.tags['excluded']}.")
            if changes:
                lines = [
                    [
                        f"{change.changed_at:%Y-%m-%d %H:%M}",
                        change.alias,
                        change.from_version or "–",
                        change.to_version or "–",
                        change.who,
                        change.why,
                    ]
                    for change in changes[-10:]
                ]
                output.say("")
                output.table("Journal of aliases", ["when (UTC)", "alias", "from", "to", "who", "why"], lines)
            if judged:
                output.say("\nPrecision: the flagged records that are anomalies; missed: the unflagged ones that are.")
                if ranked:
                    output.say("AUROC: how often an anomaly scores above an ordinary record, of all that was scored.")
            output.next_commands("flowguard promote NAME VERSION")
        else:
            output.say("No version is registered here yet.")
            output.next_commands("flowguard train FILE")

    document = [
        {**output.plain(version), **({"verdicts": known[version.version]} if version.version in known else {})}
        for version in versions
    ]
    output.emit(document, as_json, tell)


def told(known: Quality | None) -> list[str]:
    """Precision, missed rate and AUROC of a version as cells; what too few verdicts say is not shown."""
    if known is None:
        return ["", "", ""]
    found = (known.precision, known.missed, known.auroc)
    return [f"{one}, {one.decided:,} decided" if one.enough else "" for one in found]
