from __future__ import annotations

import math
import re
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest

from flowguard.calibration.drift import Drift, DriftRecord
from flowguard.reports import DriftReport, drift_in_a_line, render_drift
from flowguard.reports import batch_axis as axis
from flowguard.reports.drift_page import channel_words, differing, on_alarm, on_drift
from flowguard.reports.drift_plots import MANY, evidence_plot
from tests.reports.drift_sample import drift_records, drift_report
from tests.reports.test_render import EVIL, Page

NAN = math.nan


def words(report: DriftReport) -> str:
    return Page(render_drift(report)).words.replace("\u00a0", " ")


def quiet(batch: str = "2013-06-24", **more: object) -> DriftRecord:
    given: dict[str, object] = {
        "batch": batch,
        "records": 120,
        "alarms": (),
        "drift": None,
        "log_martingales": {"score/level/": 0.3, "feature/missing/delay": 0.1},
        "threshold": math.log(200),
        "p_value": 0.4,
        "extrapolated": False,
        "flagged": False,
        "sentence": "",
        "score_shares": (0.1,) * 10,
        "groups": None,
        "missing": {"delay": 0.02},
        "unseen": {},
    }
    return DriftRecord(**(given | more))  # type: ignore[arg-type]


def alarm(drift: Drift | None, batch: str = "2013-06-24", **more: object) -> DriftRecord:
    given = {"alarms": ("feature/missing/delay",), "log_martingales": {"feature/missing/delay": 6.0}, "drift": drift}
    return quiet(batch, **(given | more))


EMPTY = pytest.param(lambda: render_drift(drift_report(records=())), id="empty")
ONE = pytest.param(lambda: render_drift(drift_report(records=drift_records()[:1])), id="one")
FULL = pytest.param(lambda: render_drift(drift_report()), id="full")


@pytest.mark.parametrize("render", [EMPTY, ONE, FULL])
def test_the_page_is_balanced_html_with_unique_ids_that_references_meet(render):
    text = render()
    assert text.startswith("<!doctype html>")
    page = Page(text)
    names = [tag for tag, _ in page.tags]
    assert names.count("h1") == names.count("main") == names.count("header") == names.count("footer") == 1
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(#|href="#|aria-labelledby=")([^")]+)', text)) <= set(ids)


@pytest.mark.parametrize("render", [EMPTY, ONE, FULL])
def test_the_page_asks_for_nothing_outside_itself(render):
    text = render()
    assert not re.search(r"https?://|@import", text)
    page = Page(text)
    assert page.values("src") == []
    assert not any(tag == "script" for tag, _ in page.tags)
    assert all(":" not in link.replace("data:,", "") and not link.startswith("/") for link in page.values("href"))


def test_tables_have_headers_and_plots_have_words_and_colours_of_the_stylesheet():
    text = render_drift(drift_report())
    page = Page(text)
    names = [tag for tag, _ in page.tags]
    assert names.count("caption") == names.count("table") == 2
    assert names.count("figcaption") == names.count("figure") == 5
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
    assert all(attrs.get("aria-hidden") == "true" for tag, attrs in page.tags if tag == "svg")
    assert not re.search(r"#0[1-6]0[1-6]0[1-6]", text[text.index("<svg") : text.rindex("</svg>")])


def test_the_same_report_gives_the_same_bytes():
    assert render_drift(drift_report()) == render_drift(drift_report())


def test_the_page_says_what_drifted_and_when():
    report = drift_report()
    (found,) = report.alarms
    assert found.drift is not None
    said = words(report)
    assert found.drift.sentence in said
    assert on_drift(report).startswith("dep_delay is missing more often than before: ")
    assert f"; the alarm came with {found.batch}, " in said
    assert "dep_delay: how often missing" in said
    assert "dep_delay missing 0 % to 18 %" in said
    assert "the chance that an alarm ever comes is at most 1 %, however often one looks" in said
    assert "weekly cycles and seasons are changes too" in said
    assert f"batches/{found.batch}.html" in Page(render_drift(report)).values("href")


def test_odd_batches_are_listed_with_their_p_value():
    (odd,) = drift_report().odd
    said = words(drift_report())
    assert "The batch as a whole is stranger than earlier ones" in said
    assert odd.extrapolated
    assert "extrapolated" in said[said.index("Odd batches 1") : said.index("How strange")]
    assert "2013-05-01" in said


def test_the_groups_are_drawn_when_there_are_several():
    assert list(drift_report().groups) == ["EWR", "JFK", "LGA"]
    assert "Share of each batch's records in a group" in words(drift_report())
    lone = [replace(record, groups={"all": 1.0, "": 0.0}) for record in drift_records()]
    assert drift_report(records=lone).groups == {}
    assert drift_report(records=[quiet()]).groups == {}


def test_the_lead_counts_what_there_is():
    assert on_drift(drift_report(records=())) == "No batch has been observed yet."
    assert on_drift(drift_report(records=[quiet()])) == "No alarm in 1 batch."
    odd = quiet("b", flagged=True, sentence="the batch is odd")
    assert on_drift(drift_report(records=[quiet("a"), odd])) == "No alarm in 2 batches. 1 batch is odd by itself."
    season = alarm(Drift("season", "the contexts move slowly", ("temp",)), "a")
    assert on_drift(drift_report(records=[season, quiet("b")])) == (
        "The contexts move slowly; the alarm came with a, 1 batch ago."
    )
    last = on_drift(drift_report(records=[season, replace(season, batch="b")]))
    assert last.endswith("came with b, the last batch. It is the last of 2 alarms in 2 batches.")


def test_a_line_for_the_page_of_the_run():
    assert drift_in_a_line(drift_report(records=[quiet("a"), quiet("b")])) == "No drift alarm in 2 batches."
    season = alarm(Drift("season", "the contexts move slowly", ("temp",)), "a")
    assert drift_in_a_line(drift_report(records=[season, quiet("b")])) == (
        "Drift alarm with a, of 2 batches: The contexts move slowly."
    )
    twice = drift_report(records=[season, alarm(SAID[0], "b")], redact=["pay"])
    assert drift_in_a_line(twice) == (
        "Drift alarm with b, the last of 2 in 2 batches: pay stands still (its values are redacted)."
    )


def test_an_alarm_without_a_name_says_its_channels():
    record = alarm(None)
    assert on_alarm(record, drift_report(records=[record])) == "Something changed: delay: how often missing"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("context/mix/origin", "origin: which levels"),
        ("score/spread/", "scores: how far apart"),
        ("feature/repeats/a/b", "a/b: one value again and again"),
        ("no channel", "no channel"),
    ],
)
def test_channels_are_said_in_plain_words(key, said):
    assert channel_words(key) == said


@pytest.mark.parametrize("link", ["javascript:alert(1)", "https://example.org/", "//example.org/x", "/etc/passwd"])
def test_a_link_that_is_not_relative_is_refused(link):
    for more in ({"run_href": link}, {"hrefs": {"a": link}}):
        with pytest.raises(ValueError, match="relative"):
            drift_report(**more)


def evil() -> DriftReport:
    records = [
        alarm(
            Drift("missing", f"{EVIL} is missing", (EVIL,)),
            f"{EVIL} {i}",
            alarms=(f"feature/missing/{EVIL}", EVIL),
            log_martingales={f"feature/missing/{EVIL}": 6.0 + i, EVIL: 1.0, "$\\frac{1}$": 0.0},
            missing={EVIL: 0.1 * i},
            unseen={"$\\frac{1}$": 0.1 * i, "\u202e\x00": 0.2 * i},
            groups={EVIL: 0.1 * i, "b": 1 - 0.1 * i},
            flagged=True,
            sentence=EVIL,
        )
        for i in range(3)
    ]
    hrefs = {records[0].batch: "x.html"}
    return drift_report(pipeline=EVIL, version=EVIL, made_at=EVIL, records=records, hrefs=hrefs)


def test_hostile_names_are_text():
    text = render_drift(evil())
    page = Page(text)
    assert not any(tag in ("script", "img") for tag, _ in page.tags)
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert "alert" in page.words
    assert "[U+202E][U+0000]" in text
    assert "\u202e" not in text
    assert "\x00" not in text


def test_endless_names_are_cut():
    long = "y" * 10_000
    record = alarm(
        Drift("missing", f"{long} is missing", (long,)),
        long,
        alarms=(f"feature/missing/{long}",),
        log_martingales={f"feature/missing/{long}": 6.0},
        flagged=True,
        sentence=long,
    )
    assert "y" * 401 not in render_drift(drift_report(records=[record]))


SAID = [
    Drift("stuck", "pay stands still: 90 % of the records have the value 4711, which did not repeat before", ("pay",)),
    Drift("unseen", "pay has levels never seen at calibration in 3 % of the records, most often '4711'", ("pay",)),
    Drift("context", "other contexts than before: pay is higher than before: median 4711 instead of 4", ("pay",)),
    Drift("column", "pay is lower than before: median 4711 instead of 4, in the same contexts", ("pay",)),
    Drift(
        "conditional",
        "delay no longer follows from the rest of the record as before; the contexts have changed too, which does not "
        "explain it: pay is higher than before: median 4711 instead of 4",
        ("delay",),
    ),
    Drift("context", "other contexts than before: the groups is '4711' in 9 % of the records instead of 1 %"),
]


@pytest.mark.parametrize("drift", SAID)
def test_values_of_redacted_columns_are_not_on_the_page(drift):
    records = [alarm(drift, "a", groups={"4711": 0.5, "b": 0.5}), quiet("b", groups={"4711": 0.4, "b": 0.6})]
    assert "4711" in render_drift(drift_report(records=records))
    said = words(drift_report(records=records, redact=["pay"]))
    assert "4711" not in said
    assert "values are redacted" in said
    assert "The names of groups are redacted" in said


def test_sentences_and_groups_of_other_columns_are_kept_beside_a_redacted_one():
    said = words(drift_report(redact=["ssn"], group_columns=["origin"]))
    assert "dep_delay is missing more often than before: 14 % instead of 1.9 %" in said
    assert "EWR" in said
    assert "EWR" not in words(drift_report(redact=["ssn"]))
    assert "EWR" not in words(drift_report(redact=["origin"], group_columns=["origin"]))


def test_figures_that_are_not_known_leave_a_gap():
    odd = {
        "log_martingales": {"score/level/": NAN, "feature/missing/delay": -math.inf, "group/mix/": math.inf},
        "missing": {"delay": NAN},
        "groups": {"a": NAN, "b": 0.3},
        "p_value": NAN,
        "flagged": True,
    }
    batches = [
        quiet("a"),
        quiet("b", **odd, score_shares=(NAN,) * 10),
        quiet("c", records=0, score_shares=(), missing={}, threshold=NAN),
        alarm(None, "d", **(odd | {"alarms": ("score/level/",)})),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for records in (batches, batches[1:2], batches[2:3], batches[3:]):
            text = render_drift(drift_report(records=records))
            drawn = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.S))
            assert not re.search(r"\b(nan|inf)\b", drawn)


def test_no_channel_at_all_has_a_page():
    bare = quiet(log_martingales={}, missing={}, score_shares=())
    assert "No alarm in 1 batch." in words(drift_report(records=[bare]))


def test_columns_that_never_differ_are_not_drawn():
    shares = {"same": np.array([0.1, 0.1]), "a": np.array([0.1, 0.2]), "b": np.array([0.1, NAN, 0.9])}
    assert differing(shares) == ["b", "a"]
    assert "Missing and never seen" not in words(drift_report(records=[quiet("a"), quiet("b")]))


def many(n: int, *, each: int) -> list[DriftRecord]:
    """n batches of 60 columns, with an alarm of one of them after `each`."""
    random = np.random.default_rng(0)
    keys = [f"feature/{measure}/column {c}" for c in range(60) for measure in ("level", "missing")]
    said = Drift("missing", "column 1 is missing more often than before: 12 % instead of 2 %", ("column 1",))
    records = []
    for i in range(n):
        found = i % each == each - 1
        records.append(
            quiet(
                f"part {i}.parquet",
                log_martingales=dict(zip(keys, random.normal(size=len(keys)).tolist())) | {keys[1]: 9.0 * found},
                alarms=(keys[1],) if found else (),
                drift=said if found else None,
                flagged=found,
                sentence="the batch as a whole is stranger than earlier ones" if found else "",
                score_shares=tuple(random.dirichlet(np.ones(10)).tolist()),
                missing={f"column {c}": float(random.random()) for c in range(60)},
                groups=dict(zip("abcdefghijkl", random.dirichlet(np.ones(12)).tolist())),
            )
        )
    return records


def test_three_thousand_batches_stay_below_two_megabytes():
    records = many(3000, each=5)
    hrefs = {record.batch: f"batches/{i}.html" for i, record in enumerate(records)}
    begun = time.perf_counter()
    text = render_drift(drift_report(records=records, hrefs=hrefs))
    assert time.perf_counter() - begun < 20
    assert len(text) < 2_000_000
    said = Page(text).words
    assert "100 earlier alarms not listed here." in said
    assert "and 52 plots of smaller changes" in said
    assert "4 groups of smaller changes not shown." in said


def test_each_alarm_is_a_link_with_its_words_up_to_many():
    drawing = evidence_plot(drift_report())
    assert drawing.count("<a tabindex") == 1
    assert 'href="batches/2013-05-29.html"' in drawing
    assert "<title>2013-05-29: dep_delay: how often missing; 1.5 times the threshold</title>" in drawing
    assert "<title>" not in evidence_plot(drift_report(records=many(2 * MANY + 2, each=2)))


def test_batches_that_are_no_days_in_order_lie_in_the_order_observed():
    assert axis.places(["2013-06-02", "2013-06-01"]).tolist() == [0.0, 1.0]
    assert axis.places([]).tolist() == []


def test_a_light_line_keeps_its_ends_of_range_and_its_order():
    random = np.random.default_rng(0)
    x, y = np.arange(5000.0), random.normal(size=5000)
    y[17] = NAN
    thin_x, thin_y = axis.light(x, y, 300)
    assert len(thin_x) <= 300
    assert (np.diff(thin_x) > 0).all()
    assert (thin_y.min(), thin_y.max()) == (np.nanmin(y), np.nanmax(y))
