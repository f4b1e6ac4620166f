"""What verdicts say of a version: the precision of its flags, the rate of anomalies it missed, and how it ranks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flowguard.review.auroc import Auroc, Looked, auroc
from flowguard.review.strata import CONFIDENCE, Share, Stratum, share
from flowguard.store import ScoredBatch, Verdict


@dataclass(frozen=True)
class Quality:
    """What is known of a version by verdicts.

    `precision` is the share of its flagged records that are anomalies, `missed` that of its unflagged ones, `auroc` how
    often an anomaly scores above an ordinary record, of all that it scored. `stray`
    counts decided records that are neither: unflagged and not drawn at random, or of a batch whose size is unknown.
    """

    version: int
    precision: Share
    missed: Share
    stray: int
    auroc: Auroc


def quality(
    version: int,
    histories: Mapping[str, Sequence[Verdict]],
    batches: Iterable[ScoredBatch],
    *,
    confidence: float = CONFIDENCE,
) -> Quality:
    """What all entries on records of a pipeline (`histories`, by record) say of one of its versions.

    A verdict is on the record: the decision that stands is the latest one, whichever version it was given on. What
    this version had said of the record is told by the last entry that was given on its word; records without one are
    no part of its estimates. `batches` are the pipeline's scored batches.
    """
    sizes = {batch.batch: batch for batch in batches if batch.version == version}
    flagged: dict[str, list[Verdict]] = defaultdict(list)
    drawn: dict[str, list[Verdict]] = defaultdict(list)
    decisions: dict[str, str] = {}
    stray = 0
    for record_id, history in histories.items():
        said = next((entry for entry in reversed(history) if entry.version == version), None)
        decision = history[-1].decision
        if said is None or decision is None:
            continue
        if said.batch not in sizes or not (said.flagged or said.audited):
            stray += 1
            continue
        decisions[record_id] = decision
        (flagged if said.flagged else drawn)[said.batch].append(said)
    return Quality(
        version,
        precision=share(
            [_stratum(of, decisions, sizes[name].flagged) for name, of in flagged.items()], confidence=confidence
        ),
        missed=share(
            [_stratum(of, decisions, sizes[name].scored - sizes[name].flagged) for name, of in drawn.items()],
            confidence=confidence,
        ),
        stray=stray,
        auroc=auroc(
            [_looked(flagged[name], drawn[name], decisions, sizes[name]) for name in sorted({*flagged, *drawn})],
            confidence=confidence,
        ),
    )


def _stratum(entries: Sequence[Verdict], decisions: Mapping[str, str], size: int) -> Stratum:
    said = [decisions[entry.record_id] for entry in entries]
    decided = sum(word != "unsure" for word in said)
    # A batch that was scored again with fewer records may have more verdicts than it now has records.
    return Stratum(max(size, decided), decided, said.count("confirmed"), said.count("unsure"))


def _looked(
    flagged: Sequence[Verdict], drawn: Sequence[Verdict], decisions: Mapping[str, str], batch: ScoredBatch
) -> Looked:
    said = [
        [
            (entry.score, decisions[entry.record_id] == "confirmed")
            for entry in entries
            if decisions[entry.record_id] != "unsure"
        ]
        for entries in (flagged, drawn)
    ]
    return Looked(batch.flagged, batch.scored - batch.flagged, *said)
