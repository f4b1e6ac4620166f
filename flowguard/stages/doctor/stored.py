"""The store: does it answer, has it our tables, may we write, does its clock agree; and who may come to the desk."""

from __future__ import annotations

from pathlib import Path

from flowguard.settings import settings
from flowguard.stages.doctor.clock import clock
from flowguard.stages.doctor.finding import Answer, Check, ok, warn
from flowguard.stages.workspace import Workspace, store_address
from flowguard.store.health import Health, health

GROUP = "store"


def store_of(workspace: Workspace) -> list[Check]:
    """The checks of a workspace's store."""
    return [
        Check(GROUP, "store", lambda: _store(workspace), remedy(workspace.pipeline.root), gate=True),
        Check(GROUP, "clock", lambda: clock(_health(workspace).skew, "the store's server")),
    ]


def remedy(root: Path) -> str:
    """What to correct when the store cannot be used."""
    origin = settings(root).origin("store")
    return f"Correct `store` in {origin}." if origin.endswith(".toml") else f"Correct {origin or 'FLOWGUARD_STORE'}."


def _health(workspace: Workspace) -> Health:
    return health(store_address(workspace.runs, project=workspace.pipeline.root))


def _store(workspace: Workspace) -> Answer:
    found = _health(workspace)
    if found.tables in ("no database", "none"):
        return ok(f"{found.address}: the first run makes it")
    if found.tables == "older":
        return warn(
            f"{found.address} has the tables of an older flowguard (revision {found.revision}); the next command "
            "upgrades them",
            "Back it up, and upgrade flowguard wherever else this store is used.",
        )
    return ok(f"{found.address}, revision {found.revision}, {found.seconds * 1000:.0f} ms, may be written to")
