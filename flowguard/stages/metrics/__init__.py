"""Metrics: what is remembered of the pipelines, as numbers that Prometheus collects.

Nothing is counted while records are scored: everything is read from the store, the registry, the newest manifest and
the source, so that one process tells of all runs, wherever they were, and a restart forgets nothing.
"""

from __future__ import annotations

from flowguard.stages.metrics.collector import Metrics
from flowguard.stages.metrics.exposition import printed, serve, write
from flowguard.stages.metrics.found import find

__all__ = ["Metrics", "find", "printed", "serve", "write"]
