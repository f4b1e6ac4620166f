"""A sequence of batches through kills: what was committed counts, what was not is decided anew, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from calibration import in_turn
from calibration_kill import Place, called, decide, places, through_kills

from flowguard.calibration import FalseDiscoveryRate

N, RATE = 5000, 0.1


def p_values(batches: int = 12) -> np.ndarray:
    """Batches of 40 with three anomalies in every other one, the second the first."""
    p = np.random.default_rng(3).integers(1, N + 2, (batches, 40)) / (N + 1)
    p[1::2, :3] = 1 / (N + 1)
    return p


def test_decisions_through_kills_are_those_of_a_run_that_nothing_stopped(tmp_path: Path) -> None:
    p = p_values()
    alone, _ = in_turn(FalseDiscoveryRate(RATE, pooled=True), p, N)
    # A lost or doubled place, or discoveries that are, would show: the kills are amid discoveries.
    assert [place.discoveries > 0 for place in alone] == [False, True] * 6
    assert through_kills(p, N, RATE, after=4, inside=8) == alone
    url = f"sqlite:///{tmp_path}/budgets.db"
    decide(url, p, N, RATE)
    assert places(url, RATE) == alone
    decide(url, p[::-1], N, RATE)
    assert places(url, RATE) == alone, "a batch that is decided keeps its decision, whatever it holds now"


def test_a_batch_that_is_decided_twice_shows() -> None:
    p = p_values()
    alone, _ = in_turn(FalseDiscoveryRate(RATE, pooled=True), p, N)
    twice, _ = in_turn(FalseDiscoveryRate(RATE, pooled=True), np.insert(p, 4, p[3], axis=0), N)
    kept = [place for number, place in enumerate(twice) if number != 4]
    again = [
        Place(called(number), at.t, at.records, at.discoveries_before, at.discoveries, at.level)
        for number, at in enumerate(kept, start=1)
    ]
    assert again[:4] == alone[:4]
    assert all(one != other for one, other in zip(again[4:], alone[4:], strict=True))


def test_a_process_that_does_not_die_as_it_should_is_no_proof() -> None:
    with pytest.raises(RuntimeError, match="--inside 99: ended with 0 and 12 batches decided, 98 expected"):
        through_kills(p_values(), N, RATE, after=4, inside=99)
