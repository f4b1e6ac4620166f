"""A detector with experts beside its flow: repeatable to the bit, exact by column, and quick to see what is absurd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from torch import Tensor

from flowguard import FlowDetector
from flowguard.density import Experts, Inputs, RecordDensity
from flowguard.detector import Detector, Engine, expert_fit, load
from flowguard.training import Records

FAST: dict[str, Any] = {"epochs": 2}
ROWS = 500


def people(rows: int, seed: int) -> pd.DataFrame:
    """A category, an integer, a number with zeros, one with gaps and one that is always there."""
    random = np.random.default_rng(seed)
    wage = random.gamma(4.0, 10.0, rows)
    return pd.DataFrame(
        {
            "town": random.choice(["Ulm", "Bonn", "Kiel"], rows, p=[0.7, 0.2, 0.1]),
            "visits": random.poisson(60.0, rows),
            "wage": wage,
            "tip": np.where(random.random(rows) < 0.5, 0.0, wage * random.uniform(0.1, 0.2, rows)),
            "age": np.where(random.random(rows) < 0.2, np.nan, random.normal(40, 10, rows)),
        }
    )


def fit(frame: Any, **settings: Any) -> FlowDetector:
    rest = {"training": FAST, "random_state": 0, "false_alarm_rate": 0.05, **settings}
    return FlowDetector(**rest).fit(frame)


def batch_of(frame: pd.DataFrame) -> pa.RecordBatch:
    """With numbers of any size: a column of whole numbers in pandas could not hold them."""
    return pa.Table.from_pandas(frame, preserve_index=False).combine_chunks().to_batches()[0]


@pytest.fixture(scope="module")
def fitted() -> FlowDetector:
    return fit(people(ROWS, 0))


def experts_of(detector: Detector) -> Experts:
    assert detector.density.experts is not None
    return detector.density.experts


# -- what is fitted ----------------------------------------------------------------------------------------------------


def test_by_default_there_are_two_kernel_densities_whose_centres_are_records_outside_the_calibration(
    fitted: FlowDetector,
) -> None:
    experts = experts_of(fitted.detector_)
    assert [kernel.scale for kernel in experts.every_kernel()] == ["line", "front"]
    kinds = [feature.kind for feature in fitted.detector_.encoder.features]
    assert kinds == ["category", "integer", "number", "number", "number"], "one of every kind"
    # 70 % to train on and 10 % to stop by: fewer than 2,000, so that all are centres.
    assert [kernel.centres for kernel in experts.every_kernel()] == [int(0.8 * ROWS)] * 2
    assert fitted.detector_.score_name == "experts"
    assert float(experts.log_weight.exp().sum()) == pytest.approx(1, abs=1e-6)


def test_so_many_records_as_asked_for_become_centres() -> None:
    detector = fit(people(200, 1), model={"kernel": 30})
    assert [kernel.centres for kernel in experts_of(detector.detector_).every_kernel()] == [30, 30]


def test_without_a_kernel_there_are_no_experts_and_no_record_is_kept() -> None:
    detector = fit(people(200, 1), model={"kernel": 0}).detector_
    assert detector.density.experts is None
    assert detector.score_name == "mixed"
    assert not [name for name in detector.density.state_dict() if "experts" in name]
    assert detector.evaluate(detector.encode(batch_of(people(20, 3)))).experts is None


def test_a_held_out_record_that_is_a_centre_is_left_out_where_it_is_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where records of the training stream could not be encoded and never came."""
    random = torch.Generator().manual_seed(0)
    number = {"kind": "number", "counts": [90, 0]}
    density = RecordDensity.build(
        {"columns": [number, number], "numeric": 0, "cardinalities": [], "layers": 1, "hidden": [4]}
    ).double()

    def records(count: int) -> Records:
        plain = Inputs.plain(torch.randn(count, 2, generator=random))
        straight = replace(plain, line=plain.x.clone(), log_stretch=torch.zeros(count, 2))
        return Records(straight, torch.zeros(count, 2))

    training, held_out = [records(30), records(1), records(29)], [records(15), records(15)]
    seen: list[tuple[Experts, Inputs, Tensor]] = []

    def capture(density: RecordDensity, experts: Experts, held: Inputs, place: Tensor) -> Tensor:
        seen.append((experts, held, place))
        return original(density, experts, held, place)

    original = expert_fit._log_each
    monkeypatch.setattr(expert_fit, "_log_each", capture)
    expert_fit.add_experts(density, training, held_out, centres=50, rows=70, seed=1)
    ((experts, held, place),) = seen
    mine = torch.nonzero(place >= 0).squeeze(1)
    assert 5 < len(mine) < 30
    kernel = experts.every_kernel()[1]
    assert torch.equal(kernel.values[place[mine]], held.x[mine].double())
    others = torch.nonzero(place < 0).squeeze(1)
    apart = torch.cdist(held.x[others].double(), kernel.values).amin()
    assert float(apart) > 0, "a record that is no centre is not among them"


# -- bits --------------------------------------------------------------------------------------------------------------


def numbers(detector: FlowDetector, frame: pd.DataFrame) -> np.ndarray:
    return np.column_stack(
        [detector.score_samples(frame), detector.p_values(frame), detector.log_likelihood(frame)],
    )


@pytest.mark.parametrize("tile", [1024, 200])
def test_a_record_scores_the_same_bits_whoever_shares_its_batch(fitted: FlowDetector, tile: int) -> None:
    detector = FlowDetector()
    detector.__dict__.update(fitted.__dict__)
    detector.detector_ = replace(fitted.detector_, engine=Engine(tile=tile))
    frame = people(450, 7)
    whole = numbers(detector, frame)
    order = np.random.default_rng(1).permutation(len(frame))
    assert np.array_equal(numbers(detector, frame.iloc[order]), whole[order])
    for row in (0, 127, 128, 199, 200, 449):
        assert np.array_equal(numbers(detector, frame.iloc[[row]]), whole[[row]])
    cut = [numbers(detector, frame.iloc[start : start + 97]) for start in range(0, len(frame), 97)]
    assert np.array_equal(np.concatenate(cut), whole)


def test_terms_by_column_are_a_records_own_to_the_bit(fitted: FlowDetector) -> None:
    frame = people(150, 8)

    def terms(part: pd.DataFrame) -> np.ndarray:
        encoded = fitted.detector_.encode(fitted._batch(part))
        found = fitted.detector_.evaluate(encoded, by_column=True).terms
        assert found is not None
        return found

    whole = terms(frame)
    order = np.random.default_rng(2).permutation(len(frame))
    assert np.array_equal(terms(frame.iloc[order]), whole[order])
    assert np.array_equal(terms(frame.iloc[[130]]), whole[[130]])


def test_a_bundle_gives_the_same_bits_and_the_same_reasons(fitted: FlowDetector, tmp_path: Path) -> None:
    digest = fitted.save(tmp_path / "bundle")
    again = FlowDetector.load(tmp_path / "bundle")
    frame = people(60, 4)
    assert np.array_equal(numbers(again, frame), numbers(fitted, frame))
    pd.testing.assert_frame_equal(again.explain(frame), fitted.explain(frame), check_exact=True)
    assert again.save(tmp_path / "again") == load(tmp_path / "again").digest
    assert digest == load(tmp_path / "bundle").digest


@pytest.mark.e2e
def test_the_same_seed_seals_to_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    frame = people(150, 2)
    digests = [
        fit(frame, random_state=seed, false_alarm_rate=0.1).save(tmp_path / str(place))
        for place, seed in enumerate((5, 5, 6))
    ]
    assert digests[0] == digests[1] != digests[2]


# -- exactness ---------------------------------------------------------------------------------------------------------


def test_shares_and_baseline_add_up_to_the_surprise(fitted: FlowDetector) -> None:
    detector = fitted.detector_
    frame = people(200, 9)
    frame.loc[0, "wage"], frame.loc[1, "town"] = 900.0, "Atlantis"
    encoded = detector.encode(fitted._batch(frame))
    quick, whole = detector.evaluate(encoded), detector.evaluate(encoded, by_column=True)
    assert quick.terms is None
    assert whole.terms is not None
    assert detector.baseline is not None
    shares, rest = detector.baseline.shares(whole.terms, whole.pattern)
    assert np.abs(shares.sum(axis=1) + rest + whole.log_likelihood).max() < 1e-9
    assert np.abs(whole.log_likelihood - quick.log_likelihood).max() < 1e-9
    assert np.array_equal(quick.log_likelihood, fitted.log_likelihood(frame))
    assert whole.terms.shape == (200, 6), "the last belongs to no column"
    least = float(experts_of(detector).log_weight.min()) - np.log(detector.density.orders)
    assert (-whole.terms[:, -1] <= 1e-9).all()
    assert (-whole.terms[:, -1] >= least - 1e-9).all()


def test_what_the_scores_are_made_of_does_not_depend_on_whether_terms_were_asked_for(fitted: FlowDetector) -> None:
    encoded = fitted.detector_.encode(fitted._batch(people(100, 10)))
    quick, whole = (fitted.detector_.evaluate(encoded, by_column=asked).parts() for asked in (False, True))
    for name in ("expert_mass", "expert_density", "alone", "mass_terms", "density_terms"):
        assert np.allclose(getattr(quick, name), getattr(whole, name), rtol=1e-12, atol=1e-9), name


def test_the_density_integrates_to_one_in_the_tables_units() -> None:
    random = np.random.default_rng(0)
    dose = np.where(random.random(300) < 0.3, 0.0, random.gamma(3.0, 20.0, 300))
    frame = pd.DataFrame({"dose": dose, "kind": random.choice(["a", "b"], 300)})
    frame.loc[::9, "dose"] = np.nan
    detector = fit(frame)
    assert detector.detector_.density.experts is not None
    grid = np.linspace(-400, 900, 5_201)
    total = 0.0
    for kind in ("a", "b", None, "never seen"):
        values = pd.DataFrame({"dose": grid, "kind": [kind] * len(grid)})
        likelihood = np.exp(detector.log_likelihood(values[values["dose"] != 0]))
        total += float(likelihood.sum()) * (grid[1] - grid[0])
        named = pd.DataFrame({"dose": [0.0, np.nan], "kind": [kind] * 2})
        total += float(np.exp(detector.log_likelihood(named)).sum())
    assert total == pytest.approx(1, abs=2e-3)  # what is left is the grid and what lies beyond it


# -- what is absurd ----------------------------------------------------------------------------------------------------


def changed(**values: Any) -> pd.DataFrame:
    """One ordinary record with some values replaced."""
    return pd.DataFrame(
        [{"town": "Ulm", "visits": 60, "wage": 35.0, "tip": 0.0, "age": 41.0} | values],
    )


@pytest.mark.e2e
def test_one_absurd_value_is_flagged_whatever_column_it_stands_in(fitted: FlowDetector) -> None:
    assert fitted.predict(changed()).tolist() == [1]
    for odd in ({"visits": 40_000}, {"wage": -300.0}, {"tip": 4000.0}, {"age": 900.0}):
        assert fitted.predict(changed(**odd)).tolist() == [-1], odd
        assert fitted.explain(changed(**odd), top=1)["column"].tolist() == list(odd)


def test_a_level_that_was_never_seen_is_as_odd_as_350_records_can_tell(fitted: FlowDetector) -> None:
    new = changed(town="Atlantis")
    assert fitted.p_values(new)[0] < 0.1 < fitted.p_values(changed())[0]
    assert fitted.explain(new, top=1)["column"].tolist() == ["town"]


@pytest.mark.parametrize("column", ["wage", "tip", "age", "visits"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_farther_out_is_stranger_without_end_and_finite(fitted: FlowDetector, column: str, sign: float) -> None:
    ladder = [sign * value for value in (1e3, 1e5, 1e9, 1e15, 1e100, 1e300)]
    batch = batch_of(pd.concat([changed(**{column: value}) for value in ladder], ignore_index=True))
    detector = fitted.detector_
    scores, encoded = detector.score(batch), detector.encode(batch)
    assert np.isfinite(scores.score).all()
    assert np.isfinite(scores.log_likelihood).all()
    assert (np.diff(scores.score) > 0).all()
    assert detector.decide(scores).all()
    whole = detector.evaluate(encoded, by_column=True)
    assert whole.terms is not None
    assert np.isfinite(whole.terms).all()
    assert detector.baseline is not None
    shares, _ = detector.baseline.shares(whole.terms, whole.pattern)
    place = detector.encoder.feature_names.index(column)
    assert (shares[:, :5].argmax(axis=1) == place).all(), "its own column is the reason"


def test_everything_absurd_at_once_is_finite(fitted: FlowDetector) -> None:
    worst = changed(town="Atlantis", visits=1e300, wage=-1e300, tip=1e300, age=1e300)
    scores = fitted.detector_.score(batch_of(worst))
    assert np.isfinite([scores.score, scores.log_likelihood]).all()
    assert fitted.detector_.decide(scores).all()


# -- tables of every kind ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [2, 3, 9])
def test_a_handful_of_records_is_no_obstacle(rows: int) -> None:
    with pytest.warns(UserWarning, match="too small to calibrate"):
        detector = fit(people(rows, 0), false_alarm_rate=None)
    assert np.isfinite(detector.log_likelihood(people(50, 1))).all()
    assert (detector.predict(people(50, 1)) == 1).all()


@pytest.mark.parametrize("columns", [["town"], ["visits"], ["town", "visits"], ["wage"], ["tip", "age"]])
def test_any_kinds_of_columns_will_do(columns: Sequence[str]) -> None:
    detector = fit(people(120, 0)[columns], false_alarm_rate=0.1)
    frame = people(60, 1)[columns]
    assert detector.detector_.density.experts is not None
    assert np.isfinite(numbers(detector, frame)).all()
    whole = detector.detector_.evaluate(detector.detector_.encode(detector._batch(frame)), by_column=True)
    assert whole.terms is not None
    assert np.abs(whole.terms.sum(axis=1) + whole.log_likelihood).max() < 1e-9


def test_experts_follow_the_context_and_bear_one_that_was_never_seen() -> None:
    random = np.random.default_rng(2)
    kind, load_ = random.choice(["car", "bus"], 500), random.normal(size=500)
    seats = np.where(kind == "car", 5.0, 50.0) + load_ + random.normal(0, 0.2, 500)
    frame = pd.DataFrame({"kind": kind, "load": load_, "seats": seats})
    detector = fit(frame, context=["kind", "load"], false_alarm_rate=0.02)
    odd = pd.DataFrame({"kind": ["car", "car", "bus"], "load": [0.0] * 3, "seats": [5.0, 50.0, 50.0]})
    assert detector.predict(odd).tolist() == [1, -1, 1]
    new = pd.DataFrame({"kind": ["tram", None, "car"], "load": [0.0, np.nan, 1e300], "seats": [50.0] * 3})
    assert np.isfinite(numbers(detector, new)).all()
    order = [2, 0, 1]
    assert np.array_equal(numbers(detector, new.iloc[order]), numbers(detector, new)[order])


def test_a_family_without_terms_by_column_scores_with_experts_and_gives_reasons_by_contrast() -> None:
    detector = fit(people(200, 0), model={"family": "realnvp", "layers": 2, "hidden": [8]}, false_alarm_rate=0.1)
    assert detector.detector_.score_name == "experts"
    assert not detector.detector_.has_terms
    assert detector.detector_.baseline is None
    frame = people(60, 1)
    whole = numbers(detector, frame)
    assert np.isfinite(whole).all()
    order = np.random.default_rng(0).permutation(60)
    assert np.array_equal(numbers(detector, frame.iloc[order]), whole[order])
    assert detector.predict(changed(wage=1e300)).tolist() == [-1]
    told = detector.explain(changed(wage=1e300), top=1)
    assert told["column"].tolist() == ["wage"]
    assert told["share"].isna().all(), "ranked by contrast alone"
