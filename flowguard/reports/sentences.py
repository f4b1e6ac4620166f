"""What the figures mean, in sentences that hold when they are bad news too."""

from __future__ import annotations

import math

from flowguard.explain.words import number
from flowguard.reports.page import BatchReport, RateLine, RunReport


def rate(share: float) -> str:
    """A flagged share with the digits that small rates need.

    >>> [rate(r) for r in (0.0123, 0.001, 0.00023, 0.0, 1.0)]
    ['1.23 %', '0.10 %', '0.023 %', '0 %', '100 %']
    """
    if not math.isfinite(share):
        return "–"
    hundredths = share * 100
    if hundredths == 0:
        return "0 %"
    if hundredths >= 10:
        return f"{hundredths:.1f} %".replace(".0 %", " %")
    if hundredths >= 0.0995:
        return f"{hundredths:.2f} %"
    return f"{hundredths:.3f} %" if hundredths >= 0.0005 else f"{hundredths:.1g} %"


def probability(p: float) -> str:
    """A p-value, never as a bare 0.

    >>> [probability(p) for p in (0.0123, 0.000043, 1.0)]
    ['0.012', '0.000043', '1']
    """
    if not math.isfinite(p):
        return "–"
    if p >= 1e-5:
        return f"{p:.2g}" if p >= 1e-4 else f"{p:.6f}"
    return f"{p:.1e}"


def nats(share: float) -> str:
    """A share with its sign; a huge one without the digits that nobody needs.

    >>> [nats(s) for s in (5.04, -0.04, 58567.71, 3.2e9, float("nan"))]
    ['+5.0', '0.0', '+58,567.7', '+3.2e+09', '–']
    """
    if math.isnan(share):
        return "–"
    text = f"{share:,.1f}" if abs(share) < 1e6 else number(share)
    text = "0.0" if text == "-0.0" else text
    return f"+{text}" if share > 0 else text


def count(n: int, noun: str) -> str:
    """A number of things.

    >>> count(1, "record"), count(1137, "batch"), count(0, "day")
    ('1 record', '1,137 batches', '0 days')
    """
    plural = noun + ("es" if noun.endswith(("ch", "s", "x")) else "s")
    return f"{n:,} {noun if n == 1 else plural}"


def times(line: RateLine) -> str:
    """Observed as a multiple of asked.

    >>> times(RateLine("May", 1000, 23, 0.01, 0.023, 0.001))
    '2.3 times'
    """
    if not line.asked > 0 or not math.isfinite(line.observed):
        return "–"
    ratio = line.observed / line.asked
    return f"{ratio:.0f} times" if ratio >= 9.95 else f"{ratio:.1f} times"


def verdict(line: RateLine) -> str:
    """One word or two on whether the observed rate is the one asked for: a multiple beyond two standard errors.

    >>> verdict(RateLine("May", 1000, 23, 0.01, 0.023, 0.001)), verdict(RateLine("May", 1000, 11, 0.01, 0.011, 0.001))
    ('2.3 times', 'as asked')
    """
    if math.isnan(line.asked):
        return "–"
    if not _judged(line):
        return "too few"
    return "as asked" if line.errors_away <= 2.0 else times(line)


def on_rate(line: RateLine, *, unit: str = "day") -> str:
    """Asked beside observed, and what follows when they differ by more than two or three standard errors.

    `unit` is what the records were clustered by, where the line itself does not say.
    """
    unit = line.unit or unit
    if math.isnan(line.asked):
        return f"{line.name}: {rate(line.observed)} flagged."
    said = f"{line.name}: {rate(line.asked)} asked, {rate(line.observed)} observed"
    if not _judged(line):
        return f"{said}. There are too few {unit}s to say how far that is from chance."
    error = f"standard error {rate(line.standard_error)}"
    if line.units:
        error += f", clustered over {count(line.units, unit)}"
    away = line.errors_away
    if away <= 2.0:
        return f"{said} ({error}): they agree within two standard errors."
    if line.within:
        return (
            f"{said} ({error}): {times(line)} the rate asked for, {away:.1f} standard errors away. That may be chance; "
            "more likely these records differ from those the threshold was calibrated on."
        )
    far = f"{away:.0f} standard errors" if math.isfinite(away) else "more than any chance"
    return (
        f"{said} ({error}): {times(line)} the rate asked for, {far} away. These records differ from those "
        "the threshold was calibrated on, so read their p-values as a ranking, not as a rate of false alarms."
    )


def on_batch(report: BatchReport) -> str:
    """The batch in a sentence or two."""
    if not report.read:
        return "The batch is empty."
    if not report.scored:
        return f"None of the {count(report.read, 'record')} could be scored."
    among = count(report.scored, "scored record")
    return _flagged(report.flagged, among, report.scored, report)


def on_run(report: RunReport) -> str:
    """The run in a sentence or two."""
    scored, flagged = (sum(getattr(b, name) for b in report.batches) for name in ("scored", "flagged"))
    batches = count(len(report.batches), "batch")
    if not scored:
        return f"Nothing was scored in {batches}."
    return _flagged(flagged, f"{count(scored, 'scored record')} in {batches}", scored, report)


def _flagged(flagged: int, among: str, scored: int, report: BatchReport | RunReport) -> str:
    said = f"{flagged:,} of {among} {'was' if flagged == 1 else 'were'} flagged ({rate(flagged / scored)})"
    if not flagged:
        said = f"None of {among} was flagged"
    asked = report.asked_rate
    if math.isnan(asked):
        return f"{said}; the policy is {report.policy}."
    chance = f"about {_about(asked * scored)} would be expected by chance"
    return f"{said}; at the level asked for ({rate(asked)}) {chance}."


def _about(expected: float) -> str:
    return f"{expected:,.0f}" if expected >= 9.5 else number(round(expected, 1))


def _judged(line: RateLine) -> bool:
    return line.scored > 0 and math.isfinite(line.observed) and math.isfinite(line.standard_error)
