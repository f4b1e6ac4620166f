"""A run as one picture, for a README or a message."""

from __future__ import annotations

import io
import math
import textwrap
import warnings

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from flowguard.explain.words import number
from flowguard.reports.canvas import PAPER, quiet
from flowguard.reports.cells import cell
from flowguard.reports.page import FlaggedRecord, RunReport
from flowguard.reports.plots import draw_flags
from flowguard.reports.sentences import count, on_rate, probability, rate

# About how wide a character is, as a share of the picture's width.
_CHARACTER = 0.0068
_FIGURES = ("score", "p-value")
_SETTINGS = {"font.family": "sans-serif", "font.size": 10.5, "axes.unicode_minus": False}


def run_picture(report: RunReport, *, rows: int = 6) -> bytes:
    """PNG: flagged share per batch against the asked level, the strangest records and why."""
    records = list(report.strangest)[:rows]
    height = 4.4 + (0.9 + 0.38 * len(records) if records else 0.0)
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(12, height), dpi=140, facecolor="white")
        FigureCanvasAgg(figure)
        _heading(figure, report, height)
        axes = figure.add_axes((0.062, 1 - 4.05 / height, 0.912, 2.4 / height))
        quiet(axes, PAPER)
        draw_flags(axes, report.batches, report.asked_rate, PAPER, links=False, labels=9)
        _say(figure, 0.03, 1 - 1.42 / height, f"Flagged share per {report.unit}", size=11, weight="bold")
        asked = report.policy if math.isnan(report.asked_rate) else f"– – asked {rate(report.asked_rate)}"
        _say(figure, 0.974, 1 - 1.42 / height, asked, color=PAPER.alert, ha="right")
        _table(figure, report, records, 1 - 5.0 / height, 0.38 / height)
        buffer = io.BytesIO()
        # "Software" would carry the version of matplotlib: the same run must give the same bytes for longer
        # than that.
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _heading(figure: Figure, report: RunReport, height: float) -> None:
    scored = sum(b.scored for b in report.batches)
    flagged = sum(b.flagged for b in report.batches)
    line = (
        f"{count(scored, 'record')} scored in {count(len(report.batches), 'batch')}, {flagged:,} flagged; "
        f"{report.policy}, {rate(report.overall.observed)} observed"
    )
    _say(figure, 0.03, 1 - 0.42 / height, f"{report.pipeline}, {report.period}", size=17, weight="bold")
    _say(figure, 0.03, 1 - 0.76 / height, line, color=PAPER.soft, size=11)
    if report.holdout is not None:
        held = textwrap.shorten(on_rate(report.holdout, unit=report.unit), 150, placeholder=" …")
        _say(figure, 0.03, 1 - 1.01 / height, held, color=PAPER.soft, size=11)


def _table(figure: Figure, report: RunReport, records: list[FlaggedRecord], top: float, step: float) -> None:
    if not records:
        return
    columns = _columns(report, records)
    _say(figure, 0.03, top + 0.85 * step, "The strangest records", size=11, weight="bold")
    for x, title, cells in columns:
        ha = "right" if title in _FIGURES else "left"
        _say(figure, x, top, title, color=PAPER.soft, size=9.5, ha=ha)
        for i, text in enumerate(cells, start=1):
            _say(figure, x, top - i * step, text, color=PAPER.alert if title == "why" else PAPER.text, ha=ha)
    for i in range(len(records)):
        y = [top - (i + 0.5) * step] * 2
        figure.add_artist(Line2D([0.03, 0.974], y, color=PAPER.line, lw=0.8))


def _columns(report: RunReport, records: list[FlaggedRecord]) -> list[tuple[float, str, list[str]]]:
    """Where each column of the table starts (figures: ends), its title and its cells: keys, why, figures."""
    keys = [name for name in records[0].key if name not in report.redact]
    room, x, columns = 0.42, 0.03, []
    for name in keys:
        cells = [_short(cell(r.key.get(name)), 18) for r in records]
        width = (max(len(t) for t in (_short(name, 18), *cells)) + 2) * _CHARACTER
        if x + width > 0.03 + room:
            break
        columns.append((x, _short(name, 18), cells))
        x += width
    x += 0.012
    longest = int((0.82 - x) / _CHARACTER)
    why = [_short(r.reasons[0].words if r.reasons else "no reasons from this family", longest) for r in records]
    columns.append((x, "why", why))
    columns.append((0.892, "score", [f"{r.score:,.1f}" if abs(r.score) < 1e6 else number(r.score) for r in records]))
    columns.append((0.974, "p-value", [probability(r.p_value) for r in records]))
    return columns


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _say(
    figure: Figure,
    x: float,
    y: float,
    text: str,
    *,
    color: str = PAPER.text,
    size: float = 10,
    weight: str = "normal",
    ha: str = "left",
) -> None:
    # parse_math off: a "$" in a cell is a dollar, not a formula.
    figure.text(x, y, text, color=color, fontsize=size, fontweight=weight, ha=ha, va="center", parse_math=False)
