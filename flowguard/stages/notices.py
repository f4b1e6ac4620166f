"""What a page says besides its figures: which days a threshold rests on, and when its promise does not reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flowguard.calibration import Calibration
from flowguard.detector import Detector
from flowguard.explain.words import by_contrast
from flowguard.reports import RateLine
from flowguard.spec.sections import SplitSection
from flowguard.stages.manifest import Manifest
from flowguard.stages.observe import day_of


def calibrated_on(calibration: Calibration, manifest: Manifest) -> str:
    """Which days the calibration records are of, and how long before the batch the last of them was."""
    if manifest.reference is not None:
        rested = manifest.reference
        return (
            f"ranked among {rested['records']:,} records of {rested['first']} to {rested['last']}, held out or scored "
            f"before ({rested['rule']}): the rate is approximate"
        )
    if calibration.dates is None:
        return ""
    first, last = calibration.dates
    words = f"calibrated on records of {first} to {last}"
    day, end = day_of(manifest.batch), day_of(last)
    if day is None or end is None or day <= end:
        return words
    gap = round(day - end)
    return f"{words}, {gap:,} {'day' if gap == 1 else 'days'} before this batch"


def batch_notices(manifest: Manifest, detector: Detector) -> tuple[str, ...]:
    """The notices of one batch's page."""
    without = () if detector.has_terms else (by_contrast(detector.density.config["family"]),)
    # Where a tail is extrapolated, what the flags rest on belongs beside them.
    told = (manifest.guarantee, manifest.note) if manifest.rule.extrapolates else ()
    return (*(sentence for sentence in told if sentence), *without)


def run_notices(split: SplitSection, detectors: Mapping[int, Detector], lines: Sequence[RateLine]) -> list[str]:
    """The notices of the run's page, whose rates `lines` are: that of all batches first, then those of groups."""
    newest = detectors[max(detectors)]
    notices = [] if newest.has_terms else [by_contrast(newest.density.config["family"])]
    beyond = [line for line in lines if line.errors_away > 2 and line.observed > line.asked]
    if beyond:
        which = "these batches" if lines[0] in beyond else " and ".join(line.name for line in beyond)
        notices.append(
            f"{_calibrations(split, detectors)} More than asked were flagged in {which}, most on the days that stand "
            "out above: another season or new conditions make ordinary records look strange. The asked rate is "
            "guaranteed only for records like those of the calibration: to recalibrate on records like these restores "
            "it, and a training on them also learns them."
        )
    if len(detectors) > 1:
        notices.append(
            f"These batches were scored by {len(detectors)} versions; the threshold shown is that of version "
            f"{max(detectors)}."
        )
    return notices


def _calibrations(split: SplitSection, detectors: Mapping[int, Detector]) -> str:
    """On records of which days each version's threshold was calibrated, in a sentence."""
    periods = {}
    for version, detector in sorted(detectors.items()):
        dates = detector.calibration.dates if detector.calibration else None
        first, last = dates or (split.since or "the beginning", split.until or "the end")
        periods[version] = f"{first} to {last}"
    if len(periods) == 1:
        return f"The threshold was calibrated on records of {next(iter(periods.values()))}."
    each = "; ".join(f"version {version}: {period}" for version, period in periods.items())
    return f"The thresholds were calibrated on records of other days by each version ({each})."
