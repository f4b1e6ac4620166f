"""`flowguard`: the commands together, and how errors and interruptions leave the program."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import typer

from flowguard import __version__, logs
from flowguard.cli import (
    cases,
    check,
    demo,
    deploy,
    doctor,
    drift,
    flagged,
    gate,
    init,
    metrics,
    models,
    notify,
    output,
    promote,
    prune,
    recalibrate,
    report,
    review,
    rules,
    schema,
    score,
    train,
    users,
    verdict,
    verdicts,
    why,
)
from flowguard.errors import FlowguardError, SettingsError

app = typer.Typer(
    name="flowguard",
    help="Find improbable records in tables, at an error rate you choose, with reasons in your own columns.",
    epilog="Start with `flowguard init DATA.parquet --out my.yaml`, or see it all run: `flowguard demo`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class LogForm(StrEnum):
    """How log lines are written."""

    text = "text"
    json = "json"


def _version(wanted: bool) -> None:
    if wanted:
        print(f"flowguard {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
    log: LogForm | None = typer.Option(
        None, help="Log to standard error as text or as JSON lines. By default as FLOWGUARD_LOG says, else text."
    ),
) -> None:
    from flowguard.settings import settings

    try:
        given = settings()
        logs.configure(log.value if log else given.log, given.log_level)
    except SettingsError:  # the command will meet it, and `doctor` is there to tell it
        logs.configure(log.value if log else "text")


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """The command with exit codes for its errors: 1 failed, 2 wrong input. Typer would swallow some of them."""

    @functools.wraps(command)
    def guarded(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
            sys.stdout.flush()
        except FlowguardError as error:
            output.complain(str(error), error)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            output.complain("stopped. What was finished is kept; run the same command again to go on.")
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # The reader of a pipe (head, less) has gone: nothing more to say to it, not even at the exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except Exception as error:
            if not logs.as_json() or isinstance(error, typer.Exit | typer.Abort | typer.BadParameter):
                raise
            logging.getLogger("flowguard").critical("%s", error, exc_info=True, extra=logs.fields_of(error))
            raise typer.Exit(1) from None

    return guarded


for module in (
    *(init, check, train, score, flagged, cases, why, verdict, verdicts, rules, report),
    *(drift, models, gate, promote, recalibrate, prune, demo, deploy, notify, review, users, doctor, metrics, schema),
):
    app.command(module.__name__.rsplit(".", 1)[-1], help=module.__doc__, epilog=f"Example: `{module.EXAMPLE}`")(
        _guarded(module.command)
    )


def run() -> None:
    """Run the command line; exit code 0 done, 1 failed, 2 wrong input."""
    app()


if __name__ == "__main__":
    run()
