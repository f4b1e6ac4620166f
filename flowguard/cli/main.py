"""`flowguard`: the commands together, and how errors and interruptions leave the program."""

from __future__ import annotations

import sys

import typer

from flowguard import __version__
from flowguard.cli import check, demo, flagged, init, models, promote, report, schema, score, train
from flowguard.errors import FlowguardError

app = typer.Typer(
    name="flowguard",
    help="Find improbable records in tables, at an error rate you choose, with reasons in your own columns.",
    epilog="Start with `flowguard init DATA.parquet --out my.yaml`, or see it all run: `flowguard demo`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"flowguard {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    pass


for module in (init, check, train, score, flagged, report, models, promote, demo, schema):
    app.command(module.__name__.rsplit(".", 1)[-1], help=module.__doc__, epilog=f"Example: `{module.EXAMPLE}`")(
        module.command
    )


def run() -> None:
    """Run the command line; exit code 0 done, 1 failed, 2 wrong input."""
    try:
        app()
    except FlowguardError as error:
        print(f"flowguard: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print(
            "\nflowguard: stopped. What was finished is kept; run the same command again to go on.",
            file=sys.stderr,
        )
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe (head, less) has gone: nothing more to say to it.
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    run()
