"""The ways out: a page that Prometheus scrapes, a file for node_exporter, text."""

from __future__ import annotations

import threading
from pathlib import Path
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest, start_http_server, write_to_textfile

from flowguard.errors import InputError
from flowguard.stages.metrics.collector import Metrics


def serve(metrics: Metrics, *, host: str, port: int) -> tuple[WSGIServer, threading.Thread]:
    """Answer at this address from a thread, in Prometheus's text format or as OpenMetrics, whichever is asked for.

    Whoever reaches it may read it. Raises `InputError` where nobody can listen there.
    """
    registry = CollectorRegistry()
    registry.register(metrics)
    ProcessCollector(registry=registry)  # this process: its memory, its start
    try:
        return start_http_server(port, host, registry)
    except OSError as error:
        raise InputError(
            f"Metrics cannot be served at {host}, port {port} ({error.strerror or error}). Name another with --port "
            "or --host; --port 0 takes a free one."
        ) from None


def write(metrics: Metrics, path: Path) -> None:
    """Write a file for node_exporter's textfile collector, all of it or nothing.

    Raises `InputError` for a name that it would pass over, or a folder that cannot be written to.
    """
    if path.suffix != ".prom":
        raise InputError(f"{path} does not end in .prom: node_exporter's textfile collector would pass over it.")
    registry = CollectorRegistry()
    registry.register(metrics)
    try:
        write_to_textfile(str(path), registry)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}). Name a file in a folder that is there."
        ) from None


def printed(metrics: Metrics) -> str:
    """Prometheus's text format."""
    return generate_latest(metrics).decode()
