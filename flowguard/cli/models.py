"""The registered versions, their aliases and figures."""

from __future__ import annotations

from pathlib import Path

import typer

from flowguard.cli import output

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
    from flowguard.stages.models import journal, models

    versions = models(runs, name)
    changes = journal(runs, name) if name and versions else []

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
        if rows:
            output.table("Registered versions", columns, rows, right=("version", "validation nats", "hold-out flagged"))
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
            output.next_commands("flowguard promote NAME VERSION")
        else:
            output.say("No version is registered here yet.")
            output.next_commands("flowguard train FILE")

    output.emit(versions, as_json, tell)
