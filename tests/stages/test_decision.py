"""What is kept of a batch until its flags are decided is enough: the same flags as with everything at hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowguard.calibration import Budget, Calibration, FalseAlarmRate, FalseDiscoveryRate, Parts, Policy
from flowguard.detector import Scores
from flowguard.stages import decision as module
from flowguard.stages.decision import Undecided

REFERENCE = np.sort(np.random.default_rng(0).normal(size=199))


def calibration(policy: Policy) -> Calibration:
    held = Parts(np.zeros(199), -REFERENCE, np.full(199, "1"))
    return Calibration.fit(held, np.arange(199), policy=policy, score="log_likelihood")


def chunk(
    made: Calibration, score: np.ndarray, first: int, refused: np.ndarray
) -> tuple[pa.RecordBatch, list[str], Scores]:
    n = len(score)
    ids = [f"r{(7919 * (first + i)) % 100_003}" for i in range(n)]
    nan = np.where(refused, np.nan, 0.0)
    p_value = made.p_value(score) + nan
    why = ["odd" if one else None for one in refused.tolist()]
    scores = Scores(nan, nan, nan, score + nan, p_value, np.zeros(n, bool), np.full(n, "all"), why)
    return pa.RecordBatch.from_pydict({"place": np.arange(first, first + n)}), ids, scores


@pytest.mark.parametrize(
    "policy", [FalseAlarmRate(0.05), FalseDiscoveryRate(0.3), Budget(1), Budget(7), Budget(10_000)], ids=str
)
@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 40), min_size=0, max_size=8),
    st.integers(0, 10**6),
    st.booleans(),
)
def test_flags_are_those_of_the_whole_batch_however_it_was_cut(
    policy: Policy, cuts: list[int], seed: int, tied: bool
) -> None:
    made, rng = calibration(policy), np.random.default_rng(seed)
    undecided, whole, ids, first = Undecided(made), [], [], 0
    before, module._SPARE = module._SPARE, 5
    try:
        for n in cuts:
            score = rng.normal(1.0, 2.0, n)
            score = np.round(score) if tied else score
            refused = rng.random(n) < 0.1
            batch, names, scores = chunk(made, score, first, refused)
            undecided.add(batch, names, scores, ~refused)
            whole.append(scores.score[~refused])
            ids += [name for name, why in zip(names, scores.refused, strict=True) if why is None]
            first += n
        decision = undecided.decide()
    finally:
        module._SPARE = before
    score = np.concatenate([np.zeros(0), *whole])
    expected = policy.decide(made.p_value(score), score=score, record_id=np.array(ids, dtype=str), n_reference=199)
    assert decision.flag.tolist() == expected.flag.tolist()
    assert decision.level == expected.level
    found = [name for _, names in undecided.flagged(decision) for name in names]
    assert found == [name for name, flag in zip(ids, expected.flag.tolist(), strict=True) if flag]
    assert undecided.by_cell(decision) == {"all": (len(score), int(expected.flag.sum()))}


def test_what_can_never_be_flagged_is_let_go() -> None:
    made = calibration(Budget(3))
    undecided, rng = Undecided(made), np.random.default_rng(1)
    for first in range(0, 60_000, 1000):
        batch, names, scores = chunk(made, rng.normal(size=1000), first, np.zeros(1000, bool))
        undecided.add(batch, names, scores, np.ones(1000, bool))
    assert sum(len(names) for _, _, names in undecided._records) < 12_000
    assert undecided.decide().discoveries == 3
