"""Prefect without a server of its own: defaults for the in-process mode. Import this before prefect.

Nothing here overrides what the user has set, and with PREFECT_API_URL set the flows report to that server instead.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

# Threads of torch that wait for each other sleep instead of spinning: with anything else at work on the machine,
# spinning makes training many times slower. Heard only before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
# The first start makes a database; on a busy machine that takes longer than the 20 seconds that Prefect waits.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "300")

from flowguard.errors import SettingsError
from flowguard.settings import settings

try:
    given = settings(Path(__file__).parents[1])  # puts PREFECT_API_URL of a settings file where Prefect looks for it
except SettingsError as error:
    print(f"flowguard: {error}", file=sys.stderr)
    sys.exit(error.exit_code)

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.context import get_run_context
from prefect.logging.configuration import ensure_logging_setup
from prefect.runtime import flow_run
from prefect.settings import get_current_settings
from prefect.tasks import Task

from flowguard import logs
from flowguard.errors import FlowguardError, InputError

if given.log == "json" or logs.as_json():
    ensure_logging_setup()  # Prefect's own first: later it would put its console back
    logs.configure("json", given.log_level)

UNFINISHED = [StateType.RUNNING, StateType.PENDING, StateType.SCHEDULED]


def worth_retrying(task: Task, run: object, state: object) -> bool:
    """Retry what may pass (a disk, a network, a lock), never a wrong input."""
    try:
        state.result()  # type: ignore[attr-defined]
    except InputError:
        return False
    except Exception:
        return True
    return False


# What may pass is tried again, soon and then later.
RETRY: dict[str, Any] = {
    "retries": 2,
    "retry_delay_seconds": [10, 60],
    "retry_condition_fn": worth_retrying,
}

HOURS = "FLOWGUARD_HOURS"
"""The environment variable that bounds a run; a deployment sets it where the pipeline file has `resources.hours`."""


def patience(hours: float) -> float:
    """The seconds after which a flow is stopped: so many hours, unless the environment says otherwise."""
    return 3600 * float(os.environ.get(HOURS) or hours)


def resource_of(pipeline: str) -> dict[str, str]:
    """What an event is about: the pipeline of this name."""
    return {"prefect.resource.id": f"flowguard.pipeline.{pipeline}", "prefect.resource.name": pipeline}


def need_server() -> str:
    """The address of a Prefect server that answers; `FlowguardError` says how to start one where there is none."""
    address = get_current_settings().api.url
    if not address:
        raise InputError(
            "A schedule needs a Prefect server that lives on, and PREFECT_API_URL names none. Run `prefect server "
            "start` in another terminal and set PREFECT_API_URL=http://127.0.0.1:4200/api here."
        )
    with get_client(sync_client=True) as client:
        if client.api_healthcheck() is not None:
            raise FlowguardError(
                f"No Prefect server answers at {address} (PREFECT_API_URL). Start it with `prefect server start`, "
                "or correct the address, and run this again."
            )
    return address


def run_name() -> str:
    """A run's name in Prefect's pages: flow, pipeline and what was asked for, such as `score flights 2013-05-25`."""
    given = flow_run.parameters
    name = f"{flow_run.flow_name} {Path(given['pipeline']).stem}"
    if given.get("batch"):
        return f"{name} {given['batch']}"
    days = [f"{word} {given[word]}" for word in ("since", "until") if given.get(word)]
    return " ".join([name, *days])


def artifact_key(name: str) -> str:
    """`name` as Prefect allows it in an artifact's key: lower case letters, digits and dashes."""
    return name.lower().replace("_", "-")


def run_id() -> str | None:
    """The id of the Prefect run at hand, or None outside of one."""
    try:
        context = get_run_context()
    except Exception:
        return None
    run = getattr(context, "flow_run", None) or getattr(context, "task_run", None)
    return str(getattr(run, "flow_run_id", None) or run.id) if run else None


logs.runs_from(run_id)


def stop_in_order() -> None:
    """Let a request to stop (SIGTERM) end the program by its normal exit, where it stops the in-process server too.

    Prefect passes the signal on once it has recorded the crash; unhandled, it would leave that server behind.
    """
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def settle(seconds: float = 15.0) -> None:
    """Wait until the server has recorded every task run.

    The in-process server writes task states in the background and stops with the program: leaving at once would lose
    the last of them and print their tracebacks.
    """
    deadline = time.monotonic() + seconds
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            open_runs = client.read_task_runs(
                task_run_filter=TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=UNFINISHED))),
                limit=1,
            )
            if not open_runs:
                return
            time.sleep(0.25)
