"""The drift page of a version: one self-contained HTML file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from flowguard.explain.words import number, percent
from flowguard.reports import drift_page
from flowguard.reports.cells import cell
from flowguard.reports.drift_page import DriftReport, between, channel_words, channels_in_words, differing, peak
from flowguard.reports.drift_plots import channel_plot, evidence_plot, highest_tenth, share_plot, tenth_plot
from flowguard.reports.render import _SIZES, _page, kept

if TYPE_CHECKING:
    from flowguard.calibration.drift import DriftRecord

#: Small plots of one kind, and rows of one table; the rest is counted.
MOST_PLOTS = 8
MOST_ROWS = 500


def render_drift(report: DriftReport) -> str:
    """The page of all batches that a version has observed: alarms, evidence, shares, odd batches."""
    return _page("drift.html", **drift_values(report))


def drift_values(report: DriftReport) -> dict[str, Any]:
    """What the template `drift.html` is filled with, its layout apart."""
    alarms, odd = report.alarms, report.odd
    drawn = bool(report.records)
    missing, unseen = differing(report.missing), differing(report.unseen)
    columns = [("missing", name) for name in missing[:MOST_PLOTS]] + [("unseen", name) for name in unseen[:MOST_PLOTS]]
    groups = differing(report.groups)
    return {
        "report": report,
        "lead": kept(drift_page.on_drift(report)),
        "records": sum(record.records for record in report.records),
        "threshold": _threshold(report),
        "chance": kept(percent(report.chance) if math.isfinite(report.chance) else "what was asked for"),
        "evidence": _both(evidence_plot, report) if drawn and report.channels else {},
        "channels": _channels(report) if drawn else [],
        "tenths": _both(tenth_plot, report) if np.isfinite(highest_tenth(report)).any() else {},
        "tenths_between": between(highest_tenth(report)),
        "columns": [_column(report, measure, name, place) for place, (measure, name) in enumerate(columns)],
        "more_columns": max(0, len(missing) - MOST_PLOTS) + max(0, len(unseen) - MOST_PLOTS),
        "groups": [_group(report, name, place) for place, name in enumerate(groups[:MOST_PLOTS])],
        "more_groups": max(0, len(groups) - MOST_PLOTS),
        "alarms": [_alarm(report, record) for record in _latest(alarms)],
        "more_alarms": max(0, len(alarms) - MOST_ROWS),
        "odd": [_odd(report, record) for record in _latest(odd)],
        "more_odd": max(0, len(odd) - MOST_ROWS),
    }


def _latest(records: Sequence[DriftRecord]) -> list[DriftRecord]:
    return list(reversed(records))[:MOST_ROWS]


def _both(plot: object, report: DriftReport) -> dict[str, Markup]:
    assert callable(plot)
    return {name: Markup(plot(report, width=width, height=height)) for name, width, height in _SIZES}


def _threshold(report: DriftReport) -> str:
    if not math.isfinite(report.threshold):
        return "–"
    return number(float(f"{10.0 ** min(300.0, report.threshold):.2g}"))


def _channels(report: DriftReport) -> list[dict[str, object]]:
    highest = np.where(np.isnan(report.evidence), -np.inf, report.evidence).max(axis=0, initial=-np.inf)
    order = [k for k in np.argsort(-highest, kind="stable").tolist() if math.isfinite(highest[k])][:MOST_PLOTS]
    return [
        {
            "name": channel_words(report.channels[k]),
            "note": peak(report, report.channels[k]),
            "plot": Markup(channel_plot(report, report.channels[k], place)),
        }
        for place, k in enumerate(order)
    ]


def _column(report: DriftReport, measure: str, name: str, place: int) -> dict[str, object]:
    values = (report.missing if measure == "missing" else report.unseen)[name]
    keys = [f"{part}/{measure}/{name}" for part in ("feature", "context")]
    return {
        "name": f"{cell(name)} {'missing' if measure == 'missing' else 'never seen'}",
        "note": kept(between(values)),
        "plot": Markup(share_plot(report, f"column{place}", values, keys)),
    }


def _group(report: DriftReport, name: str, place: int) -> dict[str, object]:
    shown = (cell(name) if name else "all others") if report.names_groups else f"group {place + 1}"
    values = report.groups[name]
    return {
        "name": shown,
        "note": kept(between(values)),
        "plot": Markup(share_plot(report, f"group{place}", values, ["group/mix/"])),
    }


def _alarm(report: DriftReport, record: DriftRecord) -> dict[str, object]:
    return {
        "batch": record.batch,
        "href": report.hrefs.get(record.batch, ""),
        "kind": drift_page.kind(record.drift),
        "sentence": kept(drift_page.on_alarm(record, report)),
        "channels": channels_in_words(record.alarms),
        "odds": drift_page.multiple(record.odds),
    }


def _odd(report: DriftReport, record: DriftRecord) -> dict[str, object]:
    sentence = record.sentence[: drift_page.LONGEST]
    return {
        "batch": record.batch,
        "href": report.hrefs.get(record.batch, ""),
        "records": record.records,
        "p_value": record.p_value,
        "extrapolated": record.extrapolated,
        "sentence": drift_page.visible(sentence[:1].upper() + sentence[1:]),
    }
