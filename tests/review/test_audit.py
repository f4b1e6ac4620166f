"""The audit: the same records in every process, none preferred."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, kstest

from flowguard.review import audited
from flowguard.review.audit import inclusion, place

IDS = [f"{number:032x}" for number in range(300)]


@given(st.randoms(use_true_random=False), st.integers(0, 12))
def test_the_order_of_the_records_changes_nothing_and_a_larger_audit_drops_none(
    shuffler: random.Random, size: int
) -> None:
    shuffled = IDS.copy()
    shuffler.shuffle(shuffled)
    drawn = audited("meters", shuffled, size)
    assert drawn == audited("meters", iter(IDS), 12)[:size]
    assert len(set(drawn)) == size


def test_another_process_draws_the_same() -> None:
    code = "from flowguard.review import audited; print(audited('meters', [f'{n:032x}' for n in range(300)]))"
    environment = {"PYTHONHASHSEED": "7", "PATH": "/usr/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(audited("meters", IDS))


def test_every_record_is_drawn_as_often_as_any_other() -> None:
    """Over many pipelines, each a draw of its own: places are uniform, and one record's chance is the inclusion."""
    places = [place(f"pipeline {number}", IDS[0]) / 2**64 for number in range(2000)]
    assert kstest(places, "uniform").pvalue > 1e-4
    drawn = sum(IDS[17] in audited(f"pipeline {number}", IDS, 30) for number in range(500))
    assert binomtest(drawn, 500, inclusion(30, 300)).pvalue > 1e-4


def test_the_draw_knows_nothing_of_the_score() -> None:
    scores = np.arange(len(IDS))
    ranks = np.argsort([place("meters", record_id) for record_id in IDS])
    assert abs(np.corrcoef(scores, ranks)[0, 1]) < 0.2


def test_a_small_batch_is_audited_whole() -> None:
    assert sorted(audited("meters", IDS[:3], 5)) == IDS[:3]
    assert audited("meters", [], 5) == ()
    assert inclusion(5, 3) == inclusion(5, 0) == 1.0
    with pytest.raises(ValueError, match="0 or more"):
        audited("meters", IDS, -1)
