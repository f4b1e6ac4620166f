"""The checks of the gate, each from what two versions say of the same records."""

from __future__ import annotations

import math

import numpy as np

from flowguard.calibration import Calibration, FalseAlarmRate, FlaggedShare, auroc_difference, mean_difference
from flowguard.detector import Detector
from flowguard.reports.sentences import count, rate
from flowguard.review.auroc import OF_EACH
from flowguard.spec.promote import PromoteSection
from flowguard.stages.gate.check import Answer, Check
from flowguard.stages.gate.held_out import HeldOut
from flowguard.stages.gate.known import KnownAnomalies

_REPRODUCED = 1e-9
_NAMED = 3
_ANSWERS: dict[str, Answer] = {"worse": "failed", "no worse": "passed", "unsure": "unknown"}


def scores(detector: Detector, held: HeldOut) -> Check:
    """Every record that it can read has a score, so does each that the champion scores, and seals are reproduced."""
    total = len(held.new)
    if not total:
        return Check("scores", "unknown", "No record was held out that could be scored.")
    if held.nowhere:
        of = f"{held.nowhere:,} of {count(total, 'held-out record')}"
        return Check("scores", "failed", f"The likelihood of {of} is no number.", held.nowhere, 0)
    if held.old is not None:
        lost = int((held.old.scored & ~held.new.scored[held.common]).sum())
        if lost:
            said = f"It cannot score {count(lost, 'held-out record')} that the champion scores."
            return Check("scores", "failed", said, lost, 0)
    scored = int(held.new.scored.sum())
    refused = f", {total - scored:,} are quarantined" if scored < total else ""
    said = f"{scored:,} of {count(total, 'held-out record')} are scored{refused}"
    sealed, facts = detector.provenance.get("holdout_log_likelihood"), detector.provenance
    same = held.fingerprint == facts.get("fingerprint") and total == facts["records"]["holdout"]
    if sealed is None or not same:
        return Check("scores", "passed", f"{said}.", scored, total)
    found = float(held.new.log_likelihood[held.new.scored].mean())
    if not abs(found - sealed) <= _REPRODUCED * max(1.0, abs(sealed)):
        said = f"The same hold-out has a mean log-likelihood of {found:.9g} nats, and {sealed:.9g} were sealed with it."
        return Check("scores", "failed", said, found, sealed)
    how = "to the last bit" if found == sealed else f"within {_REPRODUCED:g}"
    return Check("scores", "passed", f"{said}, with the log-likelihood that was sealed, {how}.", scored, total)


def false_alarms(detector: Detector, held: HeldOut, asked: PromoteSection) -> Check:
    """Not more of its hold-out are flagged than chance explains: in all, and in each cell where there are several.

    The tests share the level (Bonferroni): one half is for all of it, the other for the cells. All cells together
    count as one calibration on all their records, whose flagged share varies as much where hold-out and calibration
    have the cells in the same proportions.
    """
    calibration = detector.calibration
    assert calibration is not None
    rows = held.new.scored
    if not rows.any():
        return Check("rate", "unknown", "No record was held out to compare the rate on.")
    flags, units, group = held.new.p_value[rows] <= calibration.rate_checked, held.unit[rows], held.new.group[rows]
    cells = calibration.cells.names
    names = [name for name in cells if (group == name).any()] if len(cells) > 1 else []
    level = asked.level / 2 if names else asked.level
    whole = calibration.too_many(flags, units, level=level)
    flagged = "flagged" if isinstance(calibration.policy, FalseAlarmRate) else "given such p-values"
    said, limit = _on_rate(whole, flagged), _number(whole.limit)
    if len(cells) == 1:
        return Check("rate", _answer(whole), said, whole.observed, limit)
    found = {
        name: calibration.too_many(flags[group == name], units[group == name], level=level / len(names), cell=name)
        for name in names
    }
    many = [name for name in names if found[name].too_many]
    if many:
        hidden = bool(set(detector.redact) & set(calibration.cells.by))
        shown = {name: f"group {place}" if hidden else name for place, name in enumerate(cells, start=1)}
        listed = " ".join(f"{shown[name]}: {_on_rate(found[name], flagged)}" for name in many[:_NAMED])
        more = f" So it is in {count(len(many) - _NAMED, 'more group')}." if len(many) > _NAMED else ""
        worst = found[many[0]]
        return Check("rate", "failed", f"{listed}{more} In all, {said}", worst.observed, _number(worst.limit))
    silent = sum(name not in found or not found[name].conclusive for name in cells)
    by_group = f"In no group too many, of {len(cells):,}"
    by_group += f" of which {silent:,} held too few records out to say." if silent else "."
    return Check("rate", _answer(whole), f"{said} {by_group}", whole.observed, limit)


def likelihood(detector: Detector, champion: Detector | None, held: HeldOut, asked: PromoteSection) -> Check:
    """Records that neither knows are not less likely under it than under the champion."""
    if champion is None:
        return Check("likelihood", "unknown", "There is no other champion to compare with.")
    if detector.measure_id != champion.measure_id:
        said = f"Not comparable: other atoms, lattices or levels (measure {detector.measure_id}, the champion's is "
        return Check("likelihood", "unknown", f"{said}{champion.measure_id}).")
    if held.old is None:
        return Check("likelihood", "unknown", f"Not comparable: {held.why}.")
    new, old = held.new.log_likelihood[held.common], held.old.log_likelihood
    rows = held.both & np.isfinite(new) & np.isfinite(old)
    if not rows.any():
        return Check("likelihood", "unknown", "The champion was made of every record that this version held out.")
    units = held.unit[held.common][rows]
    found = mean_difference(new[rows], old[rows], units)
    said = (
        f"{count(int(rows.sum()), 'record')} that neither version knows are {abs(found.mean):.3g} nats "
        f"{'less' if found.mean < 0 else 'more'} likely than under the champion, standard error "
        f"{_error(found.standard_error)}"
    )
    answer = _ANSWERS[found.answer(margin=asked.nats, level=asked.level)]
    ends = {
        "failed": f": more than {asked.nats:g} worse.",
        "passed": f": not more than {asked.nats:g} worse.",
        "unknown": f": too few to tell it from {asked.nats:g} worse.",
        "told": ".",
    }
    return Check("likelihood", answer, said + ends[answer], found.mean, -asked.nats)


def verdicts(
    known: KnownAnomalies | str, held: HeldOut, asked: PromoteSection, detectors: tuple[Detector, Detector]
) -> Check:
    """Confirmed anomalies rank above ordinary records as often as under the champion; `known` may say why not."""
    if isinstance(known, str):
        return Check("verdicts", "unknown", known)
    anomalies = known.both
    total = int(anomalies.sum())
    if total < OF_EACH:
        left = f", {known.trained_on:,} that a version was made of left out" if known.trained_on else ""
        said = f"{count(total, 'confirmed record')} can be scored again{left}; it takes {OF_EACH}."
        return Check("verdicts", "unknown", said, total, OF_EACH)
    if held.old is None or held.both.sum() < OF_EACH:
        return Check("verdicts", "unknown", f"It takes {OF_EACH} held-out records that neither version knows.")
    new, old = held.new.score[held.common], held.old.score
    found = auroc_difference(
        (known.new.score[anomalies], known.old.score[anomalies]),
        (new[held.both], old[held.both]),
        batches=known.batch[anomalies],
        units=held.unit[held.common][held.both],
    )
    flags = [
        int((said.p_value[anomalies] <= _level(one)).sum())
        for said, one in zip((known.new, known.old), detectors, strict=True)
    ]
    answer = _ANSWERS[found.difference.answer(margin=asked.auroc, level=asked.level)]
    ends = {
        "failed": f"more than {asked.auroc:g} worse",
        "passed": f"not more than {asked.auroc:g} worse",
        "unknown": f"too few to tell it from {asked.auroc:g} worse",
        "told": "",
    }
    said = (
        f"{count(total, 'confirmed record')} rank above ordinary ones with an AUROC of {found.new:.4g}, the "
        f"champion's is {found.old:.4g}: {ends[answer]} (standard error {_error(found.difference.standard_error)}). "
        f"It flags {flags[0]:,} of them, the champion {flags[1]:,}."
    )
    return Check("verdicts", answer, said, found.difference.mean, -asked.auroc)


def _level(detector: Detector) -> float:
    calibration = detector.calibration
    assert isinstance(calibration, Calibration)
    return calibration.rate_checked


def _answer(found: FlaggedShare) -> Answer:
    return "failed" if found.too_many else "passed" if found.conclusive else "unknown"


def _on_rate(found: FlaggedShare, flagged: str) -> str:
    worth = f", worth {found.counted:,} independent ones," if found.counted < found.records else ""
    if found.too_many:
        end = f"chance gives so many in {rate(found.chance)} of calibrations that hold"
    elif found.conclusive:
        end = f"too many from {rate(found.limit)} on"
    elif math.isfinite(found.limit):
        end = f"too few to say, it would take {rate(found.limit)} to be too many"
    else:
        end = "too few to say"
    of = f"{found.flagged:,} of {count(found.records, 'held-out record')}"
    return f"{of}{worth} are {flagged}, {rate(found.observed)} where {rate(found.asked)} is asked: {end}."


def _error(value: float) -> str:
    return f"{value:.2g}" if math.isfinite(value) else "unknown"


def _number(limit: float) -> float | None:
    return limit if math.isfinite(limit) else None
