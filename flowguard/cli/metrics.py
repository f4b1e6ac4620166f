"""Metrics for Prometheus: records, flags, p-values, drift, the desk's queue, the champion's age, late batches."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

import typer

from flowguard.cli import output
from flowguard.errors import InputError

EXAMPLE = "flowguard metrics --port 9464"


def command(
    files: list[Path] | None = typer.Argument(
        None, metavar="FILE", help="Pipeline files; by default all in pipelines/.", show_default=False
    ),
    host: str | None = typer.Option(
        None, help="Listen at this address, by default 127.0.0.1. Whoever reaches it may read.", show_default=False
    ),
    port: int | None = typer.Option(
        None, min=0, max=65535, help="By default 9464; 0 takes a free one.", show_default=False
    ),
    once: bool = typer.Option(False, "--once", help="Print the metrics and end, instead of serving them."),
    textfile: Path | None = typer.Option(
        None,
        metavar="PATH",
        help="Write them to a .prom file for node_exporter's textfile collector and end.",
        show_default=False,
    ),
    as_json: bool = output.JSON,
) -> None:
    """Serve metrics until it is stopped, or tell them once."""
    given = [f"--{name}" for name, value in (("host", host), ("port", port)) if value is not None]
    if once and textfile is not None:
        raise InputError("--once prints the metrics, --textfile writes them: give one of them.")
    if given and (once or textfile is not None):
        raise InputError(f"{' and '.join(given)} say where to serve, which --once and --textfile do not do.")
    from flowguard.stages.metrics import Metrics, find, printed, serve, write
    from flowguard.stages.workspace import keep_connections

    metrics = Metrics(find(files or [], Path.cwd()))
    if once or textfile is not None:
        metrics.read()
        samples = [one for family in metrics.collect() for one in family.samples]
        if textfile is not None:
            write(metrics, textfile)
            document: dict[str, object] = {"textfile": textfile, "samples": len(samples)}
            output.emit(document, as_json, lambda: output.say(f"Wrote {len(samples)} samples to {textfile}."))
        else:
            listed = [{"name": one.name, "labels": one.labels, "value": one.value} for one in samples]
            output.emit({"samples": listed}, as_json, lambda: print(printed(metrics), end=""))
        return
    keep_connections()
    address = host or "127.0.0.1"
    server, _ = serve(metrics, host=address, port=9464 if port is None else port)
    metrics.keep()
    # As a container's first process nothing would stop it otherwise.
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    shown = f"[{address}]" if ":" in address else address
    url = f"http://{shown}:{server.server_port}/metrics"

    def tell() -> None:
        output.say(f"Metrics of {', '.join(metrics.pipelines)}: {url}")
        output.say("Ctrl-C ends it.")

    output.emit({"url": url, "pipelines": metrics.pipelines}, as_json, tell)
    sys.stdout.flush()
    stopped.wait()
    metrics.stop()
    server.shutdown()
