"""A run that failed or crashed is told to the addresses of the settings. Every flow of a pipeline has these hooks."""

from __future__ import annotations

from typing import Any

import flows.local  # noqa: F401  # isort: skip  (sets Prefect's defaults before it is imported)

from prefect import Flow, State
from prefect.client.schemas.objects import FlowRun
from prefect.utilities.urls import url_for

from flowguard.stages.notify import notify_failed


def tell_failed(flow: Flow[..., Any], run: FlowRun, state: State[Any]) -> None:
    """Tell that `run` failed, with what Prefect says of it and a link to its page."""
    notify_failed(
        run.parameters["pipeline"],
        run=run.name or flow.name,
        run_id=str(run.id),
        message=state.message or state.name or "it ended without a word",
        link=url_for(run) or "",
    )


FAILED: dict[str, Any] = {"on_failure": [tell_failed], "on_crashed": [tell_failed]}
