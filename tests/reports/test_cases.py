"""Cases on the pages of a run and of a batch."""

from __future__ import annotations

import pytest

from flowguard.reports import CaseLine, render_batch, render_run
from flowguard.reports.render import MOST_CASES
from tests.reports.sample import batch_report, run_report
from tests.reports.test_render import EVIL, Page


def case(**more: object) -> CaseLine:
    given: dict[str, object] = {
        "id": "ea9b9da33388",
        "what": "air_time too low",
        "setting": "LGA, DL (97 % of them)",
        "records": 120,
        "weight": 1482.4,
        "first": "2013-05-01",
        "last": "2013-07-19",
        "batches": 28,
        "links": [("DL 1499 LGA", "batch-2013-05-25.html#aa11")],
    }
    return CaseLine(**(given | more))  # type: ignore[arg-type]


def test_the_run_page_says_what_is_wrong_where_when_and_leads_to_the_records():
    page = Page(render_run(run_report(cases=[case(), case(id="b" * 12, what="dep_delay missing", setting="")])))
    for said in (
        "air_time too low",
        "LGA, DL (97 % of them)",
        "120",
        "1,482",
        "2013-05-01 to 2013-07-19",
        "28 batches",
    ):
        assert said in page.words
    assert "case-ea9b9da33388" in page.values("id")
    assert {"#cases", "batch-2013-05-25.html#aa11"} <= set(page.values("href"))
    assert "the strangest 1" in page.words


def test_the_batch_page_says_how_many_are_here_and_leads_to_the_case():
    here = case(here=3, href="run.html#case-ea9b9da33388", links=[("DL 1499 LGA", "#aa11")])
    page = Page(render_batch(batch_report(cases=[here])))
    assert {"run.html#case-ea9b9da33388", "#aa11"} <= set(page.values("href"))
    assert "120 records" in page.words
    assert "Here" in page.words


@pytest.mark.parametrize("text", [render_run(run_report()), render_batch(batch_report())])
def test_pages_without_cases_have_no_such_section(text):
    page = Page(text)
    assert "cases" not in page.values("id")
    assert "#cases" not in page.values("href")


def test_cases_beyond_the_page_are_counted():
    many = [case(id=f"{i:012x}", weight=1000.0 - i) for i in range(MOST_CASES + 3)]
    words = Page(render_run(run_report(cases=many))).words
    assert "3 lighter cases with 360 records not listed here" in words


def test_what_cases_say_is_text_and_their_links_are_relative():
    evil = case(id="ea9b9da33388", what=EVIL, setting=EVIL, first=EVIL, last=EVIL, links=[(EVIL, "#aa11")], here=1)
    for text in (render_run(run_report(cases=[evil])), render_batch(batch_report(cases=[evil]))):
        assert "<script" not in text
        assert "<img" not in text
    for link in ("javascript:alert(1)", "https://example.org/", "/etc/passwd"):
        with pytest.raises(ValueError, match="relative"):
            case(href=link)
        with pytest.raises(ValueError, match="relative"):
            case(links=[("x", link)])
