"""The scikit-learn face: what a data scientist expects of an outlier detector."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import multivariate_normal
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from flowguard import FlowDetector
from flowguard.detector import load
from flowguard.errors import BundleError, CalibrationError, InputError

FAST: dict[str, Any] = {"epochs": 3}


@parametrize_with_checks([FlowDetector(training={"epochs": 2})])
def test_it_is_a_scikit_learn_estimator(estimator: FlowDetector, check: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


def people(rows: int, seed: int) -> pd.DataFrame:
    """Text, booleans, whole numbers, a category in numbers, a number with zeros and one with gaps."""
    random = np.random.default_rng(seed)
    wage = random.gamma(4.0, 10.0, rows)
    return pd.DataFrame(
        {
            "town": pd.Categorical(random.choice(["Ulm", "Bonn", "Kiel"], rows, p=[0.7, 0.2, 0.1])),
            "member": random.random(rows) < 0.3,
            "visits": random.poisson(3.0, rows),
            "zone": random.choice([10, 20, 30], rows),
            "wage": wage,
            "tip": np.where(random.random(rows) < 0.5, 0.0, wage * random.uniform(0.1, 0.2, rows)),
            "age": np.where(random.random(rows) < 0.2, np.nan, random.normal(40, 10, rows)),
        }
    )


@pytest.fixture(scope="module")
def fitted() -> FlowDetector:
    return FlowDetector(categories=["zone"], false_alarm_rate=0.05, random_state=1).fit(people(1500, 0))


def test_the_log_likelihood_is_that_of_the_table() -> None:
    random = np.random.default_rng(0)
    covariance = np.array([[4.0, 3.0], [3.0, 9.0]])
    X = random.multivariate_normal([5, -5], covariance, 3000)
    detector = FlowDetector(random_state=0, model={"family": "gaussian"}, training={"epochs": 60}).fit(X)
    new = random.multivariate_normal([5, -5], covariance, 2000)
    expected, found = multivariate_normal([5, -5], covariance).logpdf(new), detector.log_likelihood(new)
    # Columns come through a smooth map by quantiles, so shapes differ a little; on average nothing beats the truth.
    assert expected.mean() - 0.1 < found.mean() < expected.mean()
    assert np.corrcoef(expected, found)[0, 1] > 0.95


def test_p_values_of_ordinary_records_are_valid(fitted: FlowDetector) -> None:
    p = fitted.p_values(people(4000, 5))
    for level in (0.05, 0.2, 0.5):
        # 300 calibration records, half of them the reference: the level itself is known to about a fifth.
        assert (p <= level).mean() < level + 4 * np.sqrt(level / 150)
    assert (fitted.predict(people(4000, 5)) == -1).mean() == pytest.approx((p <= 0.05).mean())


def test_what_is_odd_is_flagged_and_the_reason_names_it(fitted: FlowDetector) -> None:
    odd = people(4, 9)
    odd["town"] = odd["town"].astype(str)
    odd.loc[0, "town"] = "Atlantis"
    odd.loc[1, "wage"] = 4000.0
    odd.loc[2, "visits"] = 90
    odd.loc[3, ["wage", "tip"]] = [40.0, 390.0]
    assert fitted.predict(odd).tolist() == [-1] * 4
    reasons = fitted.explain(odd, top=1)
    assert reasons["column"].tolist() == ["town", "wage", "visits", "tip"]
    assert reasons["words"][0].startswith("town Atlantis was never seen")


def test_arrow_and_pandas_tables_give_the_same_scores(fitted: FlowDetector) -> None:
    frame = people(50, 3)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    assert np.array_equal(fitted.score_samples(frame), fitted.score_samples(table))
    rows = frame.sample(frac=1.0, random_state=1)
    again = pd.Series(fitted.score_samples(rows), index=rows.index).sort_index()
    assert np.array_equal(fitted.score_samples(frame), again), "a record's score is its own"


def test_context_is_not_judged_and_changes_what_is_expected() -> None:
    random = np.random.default_rng(2)
    kind = random.choice(["car", "bus"], 1500)
    frame = pd.DataFrame({"kind": kind, "seats": np.where(kind == "car", 5.0, 50.0) + random.normal(0, 0.5, 1500)})
    detector = FlowDetector(context=["kind"], random_state=0, false_alarm_rate=0.02).fit(frame)
    odd = pd.DataFrame({"kind": ["car", "car", "bus"], "seats": [5.0, 50.0, 50.0]})
    assert detector.predict(odd).tolist() == [1, -1, 1]


def test_a_bundle_gives_the_same_bits_and_is_that_of_pipelines(fitted: FlowDetector, tmp_path: Path) -> None:
    digest = fitted.save(tmp_path / "bundle")
    again = FlowDetector.load(tmp_path / "bundle")
    frame = people(80, 4)
    assert np.array_equal(again.score_samples(frame), fitted.score_samples(frame))
    assert np.array_equal(again.predict(frame), fitted.predict(frame))
    assert list(again.feature_names_in_) == list(frame.columns)
    assert load(tmp_path / "bundle").digest == digest
    weights = next((tmp_path / "bundle").glob("weights*"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(BundleError):
        FlowDetector.load(tmp_path / "bundle")


def test_the_same_seed_gives_the_same_bits() -> None:
    X = np.random.default_rng(1).normal(size=(120, 3))
    first, second = (FlowDetector(random_state=5, training=FAST).fit(X).score_samples(X) for _ in range(2))
    assert np.array_equal(first, second)


def test_a_level_that_cannot_be_supported_is_refused_and_the_default_falls_back_with_a_warning() -> None:
    X = np.random.default_rng(1).normal(size=(200, 2))
    with pytest.raises(CalibrationError, match="needs 999 calibration records"):
        FlowDetector(false_alarm_rate=0.001, training=FAST).fit(X)
    with pytest.warns(UserWarning, match=r"0\.0476 is the smallest"):
        detector = FlowDetector(training=FAST, random_state=0).fit(X)
    assert detector.false_alarm_rate_ == pytest.approx(1 / 21)


def test_without_a_record_to_calibrate_on_nothing_is_flagged() -> None:
    X = np.random.default_rng(1).normal(size=(6, 2))
    with pytest.warns(UserWarning, match="too small to calibrate"):
        detector = FlowDetector(training=FAST).fit(X)
    assert (detector.p_values(X) == 1).all()
    assert (detector.predict(1e6 * X) == 1).all()
    assert np.isfinite(detector.log_likelihood(X)).all()
    assert (detector.explain(1e6 * X, top=1)["contrast"] > 100).all(), "contrasts need no calibration"


def test_what_cannot_be_used_is_said_by_name(fitted: FlowDetector) -> None:
    with pytest.raises(NotFittedError):
        FlowDetector().predict(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(people(3, 1).drop(columns="wage"))
    frame = people(3, 1)
    frame.loc[1, "wage"] = np.inf
    with pytest.raises(InputError, match="Record 1 cannot be scored: wage is infinite"):
        fitted.predict(frame)
    with pytest.raises(InputError, match="Column 'home' is not in the table; it has town, member"):
        FlowDetector(context=["home"]).fit(people(50, 1))
    dated = people(50, 1).assign(day=pd.Timestamp("2026-01-01"))
    with pytest.raises(InputError, match="Column 'day' holds timestamp"):
        FlowDetector().fit(dated)
    with pytest.raises(InputError, match="No column is left to judge"):
        FlowDetector(context=[0]).fit(np.zeros((50, 1)))
    with pytest.raises(CalibrationError, match="no score 'least'; expected `default` or one of log_likelihood"):
        FlowDetector(score_by="least").fit(people(50, 1))  # type: ignore[arg-type]
    with pytest.raises(CalibrationError, match="what several densities say"):
        FlowDetector(score_by="experts", model={"kernel": 0}).fit(people(50, 1))


def test_importing_flowguard_loads_nothing_heavy() -> None:
    program = "import sys, flowguard; print({'torch', 'sklearn', 'pandas'} & set(sys.modules)); flowguard.FlowDetector"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "set()"
