"""The speed benchmark on tiny flows; no time that was taken decides whether a test passes."""

from __future__ import annotations

import argparse
import math

import pytest
import torch
from rich.progress import Progress
from speed import DENSE, Row, measured, ratio, rounds, share_of_dense, table
from speed_likelihood import Curve, Race, likelihood_table, races, sample, trained
from speed_models import KINDS, Architecture, contenders, flowguard_flow, nflows_flow, zuko_flow

TINY = Architecture(columns=3, layers=2, hidden=(8, 8), bins=4)


def quiet() -> Progress:
    return Progress(disable=True)


@pytest.mark.parametrize("kind", KINDS)
def test_every_flow_is_a_density_of_the_same_architecture(kind: str) -> None:
    x = torch.randn(5, 3)
    made = contenders(kind, TINY, seed=0)
    assert [one.name for one in made][:3] == ["flowguard", "flowguard float64", "zuko"]
    for one in made:
        assert one.log_prob is not None
        assert one.log_prob(x.to(one.dtype)).shape == (5,)
    shared = TINY.layers * (3 * 8 + 8 * 8)
    sizes = {"affine": (2,), "spline": (11, 13)}[kind]
    for one in made:
        # The last matrix is of the parameters of each column; flowguard's also have a direct path.
        assert one.products in {shared + TINY.layers * 3 * (8 * size + own) for size in sizes for own in (0, 3)}


def test_nflows_is_built_of_hidden_layers_of_one_width_alone() -> None:
    pytest.importorskip("nflows")
    assert nflows_flow("affine", TINY, seed=0).products
    with pytest.raises(ValueError, match="one width"):
        nflows_flow("affine", Architecture(3, 2, (8, 4)), seed=0)


def test_every_run_takes_part_in_every_round_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []
    ticks = iter(range(100))
    found = rounds(
        {name: lambda name=name: calls.append(name) for name in "abc"},  # type: ignore[misc]
        repeats=3,
        clock=lambda: float(next(ticks)),
    )
    assert "".join(calls) == "abc" + "bca" + "cab" + "abc"
    assert found == dict.fromkeys("abc", (1.0, 1.0, 1.0))


def test_a_ratio_is_the_median_of_those_within_rounds() -> None:
    assert ratio((2.0, 90.0, 8.0), (1.0, 30.0, 1.0)) == 3.0


def test_the_share_of_the_dense_rate_counts_whole_matrices_and_a_step_three_times() -> None:
    base = Row(1, "affine", "score", DENSE, (1.0,), 0)
    row = Row(1, "affine", "score", "zuko", (0.5,), 1024**2)
    assert share_of_dense(row, base, 512) == 1.0
    assert share_of_dense(Row(1, "affine", "train", "zuko", (0.5,), 1024**2), base, 512) == 3.0


def test_it_measures_all_and_prints_one_line_each() -> None:
    args = argparse.Namespace(records=32, threads=[1], repeats=1, seed=0)
    before = torch.get_num_threads()
    try:
        with quiet() as progress:
            rows = list(measured(TINY, args, progress))
    finally:
        torch.set_num_threads(before)
    assert {(row.kind, row.task) for row in rows} == {(kind, task) for kind in KINDS for task in ("score", "train")}
    assert {"flowguard", "flowguard float64", "zuko", "IsolationForest", DENSE} <= {row.name for row in rows}
    assert all(len(row.seconds) == 1 for row in rows)
    assert table(rows, TINY, 32).row_count == sum(row.name != DENSE for row in rows)


def test_a_seed_gives_the_same_records_and_another_others_of_the_same_law() -> None:
    first, again, other = (sample(6, 4000, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.testing.assert_close(first.mean(0), other.mean(0), rtol=0, atol=0.15)
    assert first.std(0).min() > 0.2
    assert first.abs().max() < 12


def test_all_train_for_about_as_long_and_at_least_once() -> None:
    train, held_out = sample(3, 200, seed=0), sample(3, 100, seed=1)
    entered = [flowguard_flow("affine", TINY, seed=0), zuko_flow("affine", TINY, seed=0)]
    for curve in trained(entered, train, held_out, budget=0.0, seed=0):
        assert len(curve.nats) == len(curve.seconds) == 1
        assert curve.reached(curve.best) == curve.seconds[0]
        assert curve.nats[0] > -50


def test_a_curve_knows_when_it_first_reached_a_likelihood() -> None:
    curve = Curve((1.0, 2.0, 3.0), (-5.0, -2.0, -3.0))
    assert curve.best == -2
    assert curve.reached(-4) == 2.0
    assert curve.reached(0) is None
    assert Curve((), ()).best == -math.inf


def test_flowguard_is_measured_against_both_of_zukos_flows() -> None:
    with quiet() as progress:
        found = list(races(TINY, budget=0.01, seed=0, repeats=1, progress=progress))
    assert {race.target for race in found} == {"zuko MAF", "zuko NSF"}
    assert found[0].name == "zuko MAF"
    assert found[0].reached is not None
    assert found[1].name == "flowguard affine, 2 x 8 x 8"
    missed = Race("zuko MAF", "flowguard spline", -9.0, None, 100.0)
    assert likelihood_table([found[0], missed], budget=1).row_count == 2
