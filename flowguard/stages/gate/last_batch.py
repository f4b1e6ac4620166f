"""What a version would flag of the batch that was scored last; nothing of it is written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flowguard.calibration import History
from flowguard.detector import Detector
from flowguard.errors import InputError
from flowguard.registry import Version
from flowguard.reports.sentences import count, rate
from flowguard.stages.decision import Undecided
from flowguard.stages.gate.check import Check
from flowguard.stages.progress import work
from flowguard.stages.rates import asked_share
from flowguard.stages.rolling import roll
from flowguard.stages.workspace import Workspace
from flowguard.tables import RecordIds


def last_batch(workspace: Workspace, version: Version, detector: Detector) -> Check:
    """The share of the batch scored last that the version flags, beside the one asked for and what was flagged."""
    spec = workspace.pipeline
    scored = [one for one in workspace.store.batches.of(spec.name) if one.scored]
    if not scored:
        return Check("batch", "told", "No batch has been scored yet.")
    last = max(scored, key=lambda one: (one.scored_at, one.batch))
    source = workspace.source()
    try:
        batch = source.find_batch(last.batch)
    except InputError:
        return Check("batch", "told", f"{last.batch}, the batch scored last, is no longer there.")
    rolled = roll(workspace, version, detector, batch.name)
    if rolled is not None:
        detector = replace(detector, calibration=rolled.calibration)
    calibration = detector.calibration
    assert calibration is not None, "only calibrated versions are registered"
    undecided, ids = Undecided(calibration), RecordIds(spec.source.key)
    columns = list(dict.fromkeys([*detector.columns, *spec.source.key]))
    with work(f"scoring {batch.name} for the gate") as bar:
        for chunk in source.read(columns, batch=batch):
            encoded, named = detector.encode(chunk), ids.update(chunk)
            scores = detector.judge(chunk, encoded, detector.evaluate(encoded), record_id=named)
            undecided.add(chunk, named, scores, np.array([why is None for why in scores.refused], dtype=bool))
            bar.advance(chunk.num_rows)
    # Of a budget that batches share: as the first of a sequence, so that nothing of the budget is spent.
    decision = undecided.decide(History(1, 0))
    total = len(decision.flag)
    share, asked = decision.discoveries / max(1, total), asked_share(calibration)
    wanted = f", {rate(asked)} asked" if asked == asked else ""
    said = (
        f"Of {batch.name}, scored last, it would flag {decision.discoveries:,} of {count(total, 'record')} "
        f"({rate(share)}{wanted}); version {last.version} flagged {last.flagged:,}."
    )
    return Check("batch", "told", said, share, asked if asked == asked else None)
