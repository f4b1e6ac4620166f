"""A real browser on pages: what it complained about, what it asked the network for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

DESK = {"width": 1200, "height": 900}
PHONE = {"width": 390, "height": 844}
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # Nothing but this machine has an address.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    executable = shutil.which("chromium")
    assert executable, "these tests need Chromium: `apt-get install chromium`, as .ci/run does"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(OPTIONS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """A page with everything that it complained about and every address that it asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@contextmanager
def visit(browser: Browser, address: str, **settings: Any) -> Iterator[Visit]:
    """Open `address` in a fresh profile; `settings` as for a Playwright context (viewport, color_scheme)."""
    context = browser.new_context(**{"viewport": DESK, **settings})
    try:
        seen = Visit(context.new_page())
        seen.page.on(
            "console",
            lambda message: seen.complaints.append(message.text) if message.type in ("error", "warning") else None,
        )
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.on("request", lambda request: seen.asked.append(request.url))
        seen.page.goto(address, wait_until="load", timeout=60_000)
        yield seen
    finally:
        context.close()
