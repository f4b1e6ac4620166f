from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from flowguard.reports import RateLine, render_batch, render_run
from flowguard.reports.page import BatchSummary
from flowguard.reports.render import MOST_RECORDS
from tests.reports.sample import batch_report, reason, record, run_report, summaries

EVIL = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Reads a page: balance of tags, ids, text and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    def values(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.tags if name in attrs]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


BOTH = [
    pytest.param(lambda: render_batch(batch_report()), id="batch"),
    pytest.param(lambda: render_run(run_report()), id="run"),
]


@pytest.mark.parametrize("render", BOTH)
def test_a_page_is_balanced_html_with_landmarks_and_one_heading(render):
    text = render()
    assert text.startswith("<!doctype html>")
    page = Page(text)
    names = [tag for tag, _ in page.tags]
    assert names.count("h1") == names.count("main") == names.count("header") == names.count("footer") == 1
    assert names.count("title") > 0
    assert page.tags[0] == ("html", {"lang": "en"})


@pytest.mark.parametrize("render", BOTH)
def test_ids_are_unique_and_references_meet_them(render):
    text = render()
    page = Page(text)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    wanted = re.findall(r'(?:url\(#|href="#|aria-labelledby=")([^")]+)', text)
    assert wanted
    assert set(wanted) <= set(ids)


@pytest.mark.parametrize("render", BOTH)
def test_a_page_asks_for_nothing_outside_itself(render):
    text = render()
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    page = Page(text)
    assert page.values("src") == []
    assert not any(tag == "script" for tag, _ in page.tags)
    for link in page.values("href"):
        assert re.match(r"^(#|data:,$|\.\./|[\w-])", link), link
        assert ":" not in link.replace("data:,", "")
    assert "default-src 'none'" in text


@pytest.mark.parametrize("render", BOTH)
def test_a_page_suits_dark_paper_and_phone(render):
    text = render()
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert "max-width: 760px" in text
    assert 'name="viewport"' in text


@pytest.mark.parametrize("render", BOTH)
def test_tables_have_headers_and_plots_have_words(render):
    page = Page(render())
    tables = [tag for tag, _ in page.tags if tag == "table"]
    assert tables
    assert sum(tag == "caption" for tag, _ in page.tags) == len(tables)
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
    assert sum(tag == "figcaption" for tag, _ in page.tags) == sum(tag == "figure" for tag, _ in page.tags) > 0
    assert all(attrs.get("aria-hidden") == "true" for tag, attrs in page.tags if tag == "svg")


@pytest.mark.parametrize("render", BOTH)
def test_the_same_report_gives_the_same_bytes(render):
    assert render() == render()


def test_colours_of_the_plots_follow_the_stylesheet():
    text = render_batch(batch_report())
    drawing = text[text.index("<svg") : text.rindex("</svg>")]
    assert "var(--accent)" in drawing
    assert not re.search(r"#0[1-6]0[1-6]0[1-6]", drawing)


def test_the_batch_page_says_what_happened():
    words = Page(render_batch(batch_report())).words
    assert "1 of 861 scored records was flagged (0.12 %)" in words.replace("\u00a0", " ")
    assert "air_time 65 min; 107 to 121 expected" in words
    assert "arr_delay is infinite" in words
    assert "thunderstorms of the day" in words
    assert "flights version 3" in words
    assert "DL" in words
    assert "1499" in words


def test_the_run_page_says_so_when_the_rate_is_not_the_one_asked_for():
    words = Page(render_run(run_report())).words.replace("\u00a0", " ")
    assert "2.3 times the rate asked for" in words
    assert "read their p-values as a ranking" in words
    assert "Hold-out: 0.10 % asked, 0.11 % observed" in words
    assert "they agree within two standard errors" in words
    assert "June ran at 2.3 times the asked rate." in words


def test_the_run_page_links_every_batch():
    links = Page(render_run(run_report())).values("href")
    assert {b.href for b in summaries()} <= set(links)


def test_the_run_page_links_a_record_on_its_batch_page():
    strange = record(record_id="aa11", batch="2013-05-25", href="batch-2013-05-25.html#aa11")
    assert "batch-2013-05-25.html#aa11" in Page(render_run(run_report(strangest=[strange]))).values("href")
    assert "aa11" in Page(render_batch(batch_report(records=[strange]))).values("id")


def evil_batch():
    return batch_report(
        pipeline=EVIL,
        batch=EVIL,
        version=EVIL,
        quarantine={EVIL: 2},
        notices=[EVIL],
        previous=(EVIL, "a.html"),
        records=[
            record(
                record_id=EVIL,
                key={EVIL: EVIL},
                values={EVIL: EVIL},
                reasons=[reason(EVIL, words=f"{EVIL} is odd")],
            )
        ],
    )


def evil_run():
    batches = [
        BatchSummary(EVIL, 9, 9, 0, 1, 1.0, 0.0, 2.0, "x.html"),
        BatchSummary("$\\frac{1}$", 9, 9, 0, 1, 1, 0, 2),
    ]
    return run_report(
        pipeline=EVIL,
        period=EVIL,
        versions=[EVIL],
        batches=batches,
        notices=[EVIL],
        overall=RateLine(EVIL, 9, 1, 0.001, 0.1, 0.1),
        strangest=[record(key={EVIL: EVIL}, batch=EVIL, href="x.html")],
        unit=EVIL,
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(lambda: render_batch(evil_batch()), id="batch"),
        pytest.param(lambda: render_run(evil_run()), id="run"),
    ],
)
def test_hostile_cells_are_text(text):
    page = Page(text())
    assert not any(tag in ("script", "img") for tag, _ in page.tags)
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert "alert" in page.words


def test_marks_that_turn_the_writing_direction_are_shown_as_code_points():
    text = render_batch(batch_report(records=[record(key={"name": "abc\u202egpj.exe"})]))
    assert "\u202e" not in text
    assert "[U+202E]" in text


def test_ten_kilobytes_of_text_in_a_cell_are_cut():
    text = render_batch(batch_report(records=[record(key={"note": "y" * 10_000})]))
    assert "y" * 121 not in text
    assert "(10,000 characters)" in text


def test_redacted_columns_are_on_no_page():
    hidden = record(
        key={"ssn": "078-05-1120", "flight": 1499},
        values={"ssn": "078-05-1120", "income": 4815162342.0},
        reasons=[reason("income", words="income 4,815,162,342; 1 to 2 expected", observed=4815162342.0)],
    )
    redact = ["ssn", "income"]
    for text in (
        render_batch(batch_report(records=[hidden], redact=redact)),
        render_run(run_report(strangest=[hidden], redact=redact)),
    ):
        assert "078-05" not in text
        assert "4815" not in text
        assert "4,815" not in text
        assert "income is unusual (its values are redacted)" in Page(text).words


def test_a_record_without_reasons_says_why():
    assert "No reasons were written" in Page(render_batch(batch_report(records=[record(reasons=[])]))).words


def test_odd_numbers_do_not_break_a_page():
    odd = record(
        log_likelihood=-math.inf,
        score=math.inf,
        p_value=math.nan,
        reasons=[
            reason(share=math.nan, low=None, high=None),
            reason(share=math.inf, low=-1e308, high=1e308, observed=1e300),
            reason(share=-2.0, low=5.0, high=5.0, observed=5.0),
            reason(observed=None),
        ],
    )
    assert "infinite" in Page(render_batch(batch_report(records=[odd], threshold=math.inf))).words


def test_an_empty_batch_has_a_calm_page():
    report = batch_report(
        read=0, scored=0, quarantined=0, flagged=0, histogram=None, records=[], quarantine={}, notices=[]
    )
    words = Page(render_batch(report)).words
    assert "The batch is empty." in words
    assert "Nothing was flagged" in words
    assert "Every record could be scored." in words


def test_a_batch_in_which_nothing_could_be_scored_says_so():
    report = batch_report(read=9, scored=0, quarantined=9, flagged=0, histogram=None, records=[])
    assert "None of the 9 records could be scored." in Page(render_batch(report)).words


def test_a_run_without_batches_has_a_page():
    report = run_report(
        batches=[],
        strangest=[],
        groups=[],
        holdout=None,
        overall=RateLine("all", 0, 0, 0.001, math.nan, math.nan),
    )
    words = Page(render_run(report)).words
    assert "Nothing was scored in 0 batches." in words
    assert "too few" in words


def test_a_batch_of_nothing_but_refused_records_does_not_break_the_run():
    nan = math.nan
    batches = [*summaries(3), BatchSummary("2013-06-04", 5, 0, 5, 0, nan, nan, nan, "x.html")]
    assert "2013-06-04" in Page(render_run(run_report(batches=batches))).words


def test_a_batch_with_thousands_of_flags_stays_small_and_counts_the_rest():
    many = batch_report(records=[record()] * 3000, flagged=5000, scored=90000)
    text = render_batch(many)
    assert len(text) < 1_500_000
    assert f"{5000 - MOST_RECORDS:,} more flagged records of lower scores are in the scores table" in Page(text).words


def test_ten_thousand_batches_stay_below_five_megabytes():
    batches = [replace(b, batch=f"part {i}", href=f"batches/{i}.html") for i, b in enumerate(summaries(1) * 10_000)]
    text = render_run(run_report(batches=batches))
    assert len(text) < 5_000_000
    assert "8,000 more batches not listed here" in Page(text).words


def test_reports_load_neither_torch_nor_mlflow_nor_pyplot():
    code = (
        "import sys, flowguard.reports; "
        "print([m for m in ('torch', 'mlflow', 'matplotlib.pyplot', 'pandas', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_run_says_and_shows_where_the_data_drifted():
    bare = render_run(run_report())
    assert "drift" not in Page(bare).words.lower()
    text = render_run(run_report(drift="No drift alarm in 92 batches <b>.", drift_href="drift.html"))
    assert "drift.html" in Page(text).values("href")
    assert "No drift alarm in 92 batches <b>." in Page(text).words
    with pytest.raises(ValueError, match="relative"):
        run_report(drift_href="https://example.org/")
