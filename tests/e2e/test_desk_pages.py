"""Every page of the desk in a real browser: for everybody, within the window, without another machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.e2e.conftest import Demo
from tests.e2e.desk import RunningDesk, add_user, at_desk, barriers, copied, log_in, open_desk, settled, too_wide, whole

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def desk(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    """The desk of the demo's flights, where one case and one record are decided, for its admin."""
    folder = tmp_path_factory.mktemp("pages")
    project = copied(demo.folder, folder / "project")
    add_user(project, "ada", "admin")
    with open_desk(project, "flights", folder / "log.txt") as opened:
        yield opened


def test_every_page_is_for_everybody_in_light_and_dark_on_a_desk_and_a_phone(
    desk: RunningDesk, browser: Browser
) -> None:
    found: list[str] = []
    with at_desk(browser, desk, f"{desk.url}login") as seen:
        page = seen.page
        found += [f"login: {one}" for one in barriers(page)]
        log_in(page, "ada")
        page.goto(desk.record_url(desk.strangest()))
        page.get_by_label("Note").fill("looked up")
        page.get_by_role("button", name="Confirmed").click()
        page.locator("#history .state").wait_for()
        for address in (*desk.addresses(), f"{desk.url}nowhere"):
            page.emulate_media(color_scheme="light")
            page.goto(address)
            settled(page)
            name = address.removeprefix(desk.url)
            found += [f"{name}, light: {one}" for one in barriers(page)]
            page.emulate_media(color_scheme="dark")
            found += [f"{name}, dark: {one}" for one in barriers(page)]
            if over := too_wide(page):
                found.append(f"{name}: {over} pixels too wide for a phone")
            if name == "nowhere":  # Chromium reports the 404
                seen.complaints = [one for one in seen.complaints if "404" not in one]
            whole(seen, desk)
    assert not found, "\n".join(found)
