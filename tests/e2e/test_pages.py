"""The demo's pages in a real browser: nothing breaks, nothing runs over the edge, nothing leaves the machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.e2e.browser import DESK, PHONE, visit
from tests.e2e.conftest import Demo

pytestmark = pytest.mark.e2e


def reports(demo: Demo) -> Path:
    return demo.folder / "runs/flights/reports"


@pytest.mark.parametrize("name", ["run.html", "drift.html", "batch-2013-05-25.html"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_renders_without_complaint_or_network(
    demo: Demo, browser: Browser, tmp_path: Path, name: str, viewport: dict[str, int], scheme: str
) -> None:
    address = (reports(demo) / name).as_uri()
    with visit(browser, address, viewport=viewport, color_scheme=scheme, offline=True) as seen:
        picture = seen.page.screenshot(path=tmp_path / "page.png", full_page=True)
        width = seen.page.evaluate("document.documentElement.scrollWidth")
        ink, paper = (
            seen.page.evaluate(f"getComputedStyle(document.body).{part}") for part in ("color", "backgroundColor")
        )
    assert seen.complaints == []
    assert [one for one in seen.asked if not one.startswith("data:")] == [address]
    assert width <= viewport["width"], "the page needs no scrolling sideways"
    assert len(picture) > 20_000
    dark = {"light": ink, "dark": paper}[scheme], {"light": paper, "dark": ink}[scheme]
    assert brightness(dark[0]) + 100 < brightness(dark[1]), "text stands out from the page"


def test_a_flagged_flight_reads_in_words(demo: Demo, browser: Browser) -> None:
    with visit(browser, (reports(demo) / "batch-2013-05-25.html").as_uri()) as seen:
        text = seen.page.inner_text("body")
    assert "1499" in text
    assert "65 min" in text


def test_pages_lead_to_each_other(demo: Demo, browser: Browser) -> None:
    with visit(browser, (reports(demo) / "run.html").as_uri()) as seen:
        links = seen.page.eval_on_selector_all("a[href]", "all => all.map(one => one.href)")
        days = {link.split("#")[0] for link in links if "batch-" in link}
        assert days == {page.as_uri() for page in reports(demo).glob("batch-*.html")}
        seen.page.locator("th a[href='batch-2013-06-15.html']").click()
        seen.page.wait_for_url("**/batch-2013-06-15.html")
        assert "3535" in seen.page.inner_text("body")
        seen.page.locator("a[href='batch-2013-06-16.html']").first.click()
        seen.page.wait_for_url("**/batch-2013-06-16.html")
        seen.page.locator("a[href='run.html']").first.click()
        seen.page.wait_for_url("**/run.html")
        seen.page.locator("nav a[href='drift.html']").click()
        seen.page.wait_for_url("**/drift.html")
        seen.page.locator("nav a[href='run.html']").click()
        seen.page.wait_for_url("**/run.html")
    assert seen.complaints == []


def brightness(color: str) -> float:
    """The mean of the channels of a CSS color such as rgb(17, 23, 26)."""
    channels = [float(part) for part in color[color.index("(") + 1 : -1].split(",")[:3]]
    return sum(channels) / 3
