"""The pages of the desk, one router a file."""

from __future__ import annotations

from fastapi import APIRouter

from flowguard.review.web.pages import decide, drift, export, queue, record, records, rules, versions

ROUTERS: tuple[APIRouter, ...] = (
    queue.router,
    records.router,
    record.router,
    decide.router,
    export.router,
    versions.router,
    drift.router,
    rules.router,
)
"""What `create_app` serves. A page of a router needs `current` as a dependency only to know who asks."""
