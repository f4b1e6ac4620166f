"""Reports to HTML: one self-contained page each, safe whatever the cells hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from flowguard.explain.reason import Reason
from flowguard.explain.words import number, percent, redacted_reason
from flowguard.reports import sentences
from flowguard.reports.cells import cell
from flowguard.reports.page import BatchReport, CaseLine, FlaggedRecord, RunReport
from flowguard.reports.plots import flag_plot, log_scale, score_plot, trend_plot

#: Records, batches and cases listed on one page; the rest is counted, so that a page stays below 5 MB.
MOST_RECORDS = 200
MOST_BATCHES = 2000
MOST_CASES = 50

# : Each figure is drawn for a desk and for a phone; the stylesheet shows one. (class, width, height in CSS
# pixels)
_SIZES = (("wide", 980, 260), ("narrow", 360, 230))

_TEMPLATES = Path(__file__).parent / "templates"


def render_batch(report: BatchReport) -> str:
    """The page of a batch: scores, flagged records with their reasons, quarantine."""
    scores = {}
    if report.histogram is not None:
        for name, width, height in _SIZES:
            scores[name] = Markup(score_plot(report.histogram, report.threshold, width=width, height=height))
    return _page(
        "batch.html",
        report=report,
        records=[_card(r, report.redact) for r in report.records[:MOST_RECORDS]],
        more=max(0, len(report.records) - MOST_RECORDS),
        unlisted=max(0, report.flagged - len(report.records)),
        scores=scores,
        **_cases(report.cases),
        lead=_kept(sentences.on_batch(report)),
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
        remarks=[_kept(sentences.on_rate(x, unit=report.unit)) for x in (report.holdout, report.overall) if x],
        records=[_card(r, report.redact) for r in report.strangest[:MOST_RECORDS]],
        **_cases(report.cases),
        batches=report.batches[:MOST_BATCHES],
        more_batches=max(0, len(report.batches) - MOST_BATCHES),
        widest=max((b.share for b in report.batches if math.isfinite(b.share)), default=0.0),
        plots=plots if report.batches else {},
        log_scale=log_scale(report.batches, report.asked_rate),
        lead=_kept(sentences.on_run(report)),
        drift=_kept(report.drift),
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


def _kept(sentence: str) -> str:
    return sentence.replace(" %", "\u00a0%")  # no line may begin with a per cent sign


def _page(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["style"] = Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8"))
    environment.filters.update(
        cell=cell,
        number=number,
        percent=percent,
        rate=sentences.rate,
        probability=sentences.probability,
        nats=sentences.nats,
        times=sentences.times,
        verdict=sentences.verdict,
        count=sentences.count,
    )
    return environment


def _card(record: FlaggedRecord, redact: Sequence[str]) -> dict[str, object]:
    largest = max((abs(_nats(r)) for r in record.reasons if math.isfinite(_nats(r))), default=0.0)
    named = {r.column for r in record.reasons}
    return {
        "record": record,
        "key": [(name, value) for name, value in record.key.items() if name not in redact],
        "reasons": [_reason(r, largest, redact) for r in record.reasons],
        "values": [
            (name, value, name in named)
            for name, value in record.values.items()
            if name not in redact and name not in record.key
        ],
    }


def _reason(reason: Reason, largest: float, redact: Sequence[str]) -> dict[str, object]:
    hidden, column = reason.column in redact, _kept(reason.column)
    said = _kept(redacted_reason(reason.column) if hidden else reason.words)
    nats = _nats(reason)
    bar = abs(nats) / largest if largest > 0 and math.isfinite(nats) else 0.0
    return {
        "column": reason.column,
        "rest": said.removeprefix(column),
        "lone": "" if said.startswith(column) else said,
        "nats": nats,
        "measure": "share of what makes it strange" if reason.contrast is None else "likelier at its best value",
        "share": reason.share if reason.contrast is not None and math.isfinite(reason.share) else None,
        "bar": f"{100 * min(bar, 1.0):.1f}",
        "strip": None if hidden else _strip(reason),
    }


def _nats(reason: Reason) -> float:
    """What reasons are ranked by: the contrast, in files that have none the share."""
    return reason.share if reason.contrast is None else reason.contrast


def _strip(reason: Reason) -> dict[str, str] | None:
    """Where the expected range and the observed value lie on a line, in percent of its length."""
    if reason.observed is None or reason.low is None or reason.high is None:
        return None
    points = (reason.low, reason.high, reason.observed)
    left, span = min(points), max(points) - min(points)
    if not (math.isfinite(span) and span > 0):
        return None
    low, high, at = (4.0 + 92.0 * (p - left) / span for p in points)
    return {"low": f"{low:.1f}", "width": f"{max(high - low, 1.5):.1f}", "at": f"{at:.1f}"}
