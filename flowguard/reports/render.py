"""Reports to HTML: one self-contained page each, safe whatever the cells hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from flowguard.explain.words import number, percent, visible
from flowguard.reports import sentences
from flowguard.reports.card import card, kept
from flowguard.reports.cells import cell
from flowguard.reports.page import BatchReport, CaseLine, RunReport
from flowguard.reports.plots import flag_plot, log_scale, score_plot, trend_plot

#: Records, batches and cases listed on one page; the rest is counted, so that a page stays below 5 MB.
MOST_RECORDS = 200
MOST_BATCHES = 2000
MOST_CASES = 50

# : Each figure is drawn for a desk and for a phone; the stylesheet shows one. (class, width, height in CSS
# pixels)
_SIZES = (("wide", 980, 260), ("narrow", 360, 230))

_TEMPLATES = Path(__file__).parent / "templates"

#: The look of every page.
STYLESHEET = _TEMPLATES / "page.css"


def render_batch(report: BatchReport) -> str:
    """The page of a batch: scores, flagged records with their reasons, quarantine."""
    scores = {}
    if report.histogram is not None:
        for name, width, height in _SIZES:
            scores[name] = Markup(score_plot(report.histogram, report.threshold, width=width, height=height))
    return _page(
        "batch.html",
        report=report,
        records=[card(r, report.redact) for r in report.records[:MOST_RECORDS]],
        more=max(0, len(report.records) - MOST_RECORDS),
        unlisted=max(0, report.flagged - len(report.records)),
        scores=scores,
        **_cases(report.cases),
        lead=kept(sentences.on_batch(report)),
    )


def render_run(report: RunReport) -> str:
    """The page of a run: flagged share, scores over time, asked against observed, strangest records."""
    plots = {}
    for name, width, height in _SIZES:
        plots[name] = (
            Markup(flag_plot(report.batches, report.asked_rate, width=width, height=height)),
            Markup(trend_plot(report.batches, report.threshold, width=width, height=height)),
        )
    lines = [line for line in (report.holdout, *report.groups, report.overall) if line is not None]
    return _page(
        "run.html",
        report=report,
        lines=lines,
        remarks=[kept(sentences.on_rate(x, unit=report.unit)) for x in (report.holdout, report.overall) if x],
        records=[card(r, report.redact) for r in report.strangest[:MOST_RECORDS]],
        **_cases(report.cases),
        batches=report.batches[:MOST_BATCHES],
        more_batches=max(0, len(report.batches) - MOST_BATCHES),
        widest=max((b.share for b in report.batches if math.isfinite(b.share)), default=0.0),
        plots=plots if report.batches else {},
        log_scale=log_scale(report.batches, report.asked_rate),
        lead=kept(sentences.on_run(report)),
        drift=kept(report.drift),
        totals={n: sum(getattr(b, n) for b in report.batches) for n in ("read", "scored", "quarantined", "flagged")},
    )


def _cases(cases: Sequence[CaseLine]) -> dict[str, Any]:
    """The heaviest cases, with bars, and what is left of them."""
    listed, rest = cases[:MOST_CASES], cases[MOST_CASES:]
    heaviest = max((case.weight for case in listed if math.isfinite(case.weight)), default=0.0)
    return {
        "cases": [(case, f"{100 * case.weight / heaviest if heaviest > 0 else 0:.1f}") for case in listed],
        "more_cases": len(rest),
        "more_case_records": sum(case.here or case.records for case in rest),
    }


def _page(template: str, **values: Any) -> str:
    # A template that the desk fills too extends whatever layout it is given.
    return _environment().get_template(template).render(layout="base.html", **values)


@cache
def _environment() -> Environment:
    made = environment()
    made.globals["style"] = Markup(STYLESHEET.read_text(encoding="utf-8"))
    return made


def environment(*folders: Path) -> Environment:
    """The templates of `folders`, then those of the reports: escaping everything, with the reports' filters.

    Pages that are served, not sent around, take their look from `STYLESHEET` by a link.
    """
    made = Environment(
        loader=FileSystemLoader([*folders, _TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        cell=cell,
        visible=visible,
        number=number,
        percent=percent,
        rate=sentences.rate,
        probability=sentences.probability,
        nats=sentences.nats,
        times=sentences.times,
        verdict=sentences.verdict,
        count=sentences.count,
        pinned=kept,
    )
    return made
